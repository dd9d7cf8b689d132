//! Finds the process that listens on a TCP address, from `/proc`. A help for the reader of an error: best effort.

use std::net::{IpAddr, SocketAddr};

/// The process that listens on `address`'s port, if `/proc` shows it (our own user's processes; all of them to root).
pub(super) fn of_tcp(address: SocketAddr) -> Option<i32> {
    let mut listening = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let table = std::fs::read_to_string(table).unwrap_or_default();
        let lines = table.lines().skip(1);
        listening.extend(lines.filter_map(|line| listener(line, address.port())));
    }
    // Of several on the port, on other addresses of the machine, the very one; else one that holds every address.
    let is_held_by = |host: &str| listening.iter().find(|(at, _)| at == host);
    let (_, inode) = is_held_by(&as_shown(address.ip()))
        .or_else(|| {
            listening
                .iter()
                .find(|(at, _)| at.bytes().all(|digit| digit == b'0'))
        })
        .or_else(|| listening.first())?;
    let wanted = format!("socket:[{inode}]");
    std::fs::read_dir("/proc").ok()?.flatten().find_map(|process| {
        let pid: i32 = process.file_name().to_str()?.parse().ok()?;
        let holds = std::fs::read_dir(process.path().join("fd"))
            .ok()?
            .flatten()
            .any(|descriptor| {
                std::fs::read_link(descriptor.path()).is_ok_and(|to| to.as_os_str() == wanted.as_str())
            });
        holds.then_some(pid)
    })
}

/// An address as the tables show it: words of four bytes, each a number of this machine, in hexadecimal.
fn as_shown(address: IpAddr) -> String {
    let bytes = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let words = bytes.chunks_exact(4).filter_map(|word| word.first_chunk());
    // Both architectures that we build for are little-endian.
    words
        .map(|word| format!("{:08X}", u32::from_le_bytes(*word)))
        .collect()
}

/// The address and the socket's inode, if the line is one of a listener (state 0A) on `port`.
fn listener(line: &str, port: u16) -> Option<(String, u64)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (host, local_port) = fields.get(1)?.rsplit_once(':')?;
    let is_it = u16::from_str_radix(local_port, 16).ok()? == port && *fields.get(3)? == "0A";
    let inode = fields.get(9)?.parse().ok().filter(|_| is_it)?;
    Some((host.to_owned(), inode))
}

#[cfg(test)]
mod tests {
    #[test]
    fn addresses_are_compared_as_the_tables_show_them() {
        let shown = |text: &str| super::as_shown(text.parse().unwrap());
        assert_eq!(shown("127.0.0.1"), "0100007F");
        assert_eq!(shown("::1"), "00000000000000000000000001000000");
    }

    #[test]
    fn our_own_listener_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let pid = super::of_tcp(listener.local_addr().unwrap());
        assert_eq!(pid, Some(i32::try_from(std::process::id()).unwrap()));
    }
}
