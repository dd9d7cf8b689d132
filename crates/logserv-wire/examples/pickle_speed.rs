//! How fast framed pickles become wire records; `bench/server.py` compares it with `pickle.loads` on the same bytes.
//!
//! In, on stdin: pickles, each behind its length as a big-endian `u32`. Out, on stdout: records per second in
//! the fastest of as many passes over them as the first argument says: the machine may be busy with other things.

use std::io::{self, Read};
use std::time::Instant;

use logserv_wire::pickle::{Conversion, Unpickler};

fn main() -> io::Result<()> {
    let passes: usize = std::env::args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(9);
    let mut input = Vec::new();
    io::stdin().read_to_end(&mut input)?;
    let (mut unpickler, mut records) = (Unpickler::new(), Vec::new());
    let best = (0..passes.max(1))
        .map(|_| {
            let (start, mut count, mut rest) = (Instant::now(), 0_u32, input.as_slice());
            while let Some((len, tail)) = rest.split_first_chunk::<4>() {
                let (frame, tail) = tail
                    .split_at_checked(u32::from_be_bytes(*len) as usize)
                    .unwrap_or((tail, &[]));
                rest = tail;
                if records.len() > 1 << 18 {
                    records.clear(); // as a connection does when its batch is full
                }
                count += u32::from(
                    unpickler
                        .to_record(frame, &Conversion::default(), &mut records)
                        .is_ok(),
                );
            }
            f64::from(count) / start.elapsed().as_secs_f64()
        })
        .fold(0.0, f64::max);
    println!("{best}");
    Ok(())
}
