//! A whole server inside a program: `run(config, listeners, control)`.

use std::fs;
use std::time::Duration;

use logserv_server::config::TcpAddress;
use logserv_server::{Config, Control, Listeners, Server, ask, run};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

fn config(directory: &std::path::Path) -> Config {
    let mut config = Config::default();
    config.listen.unix = vec![directory.join("s.sock")];
    config.listen.tcp = vec![TcpAddress {
        host: "127.0.0.1".into(),
        port: 0,
    }];
    config.sink.roots = vec![directory.to_owned()];
    config.sink.idle_close = Duration::from_millis(50);
    config
}

const IDENTIFY: &[u8] =
    b"HELLO 1.0\nIDENTIFY {\"--level\": 10, \"--handler\": \"logging.FileHandler\", \"filename\": \"app.log\"}\nLOG\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_in_process_server_serves_closes_idle_files_and_drains() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path());
    let listeners = Listeners::bind(&config.listen, false).unwrap();
    let addresses = listeners.addresses();
    let tcp = addresses[1].strip_prefix("tcp:").unwrap().to_owned();
    let control = Control::default();
    let server = tokio::spawn({
        let (config, control) = (config.clone(), control.clone());
        async move { run(&config, listeners, &control).await }
    });

    let mut peer = TcpStream::connect(&tcp).await.unwrap();
    peer.write_all(IDENTIFY).await.unwrap();
    let mut answer = [0; 16];
    peer.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HELLO 1.0\nOK\nOK\n");
    let socket = config.listen.unix[0].clone();
    let status = || {
        let socket = socket.clone();
        tokio::task::spawn_blocking(move || ask::status(&socket).unwrap())
    };
    assert_eq!(status().await.unwrap()["files"][0]["sessions"], 1);
    drop(peer);
    let closed = async {
        while !status().await.unwrap()["files"].as_array().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), closed)
        .await
        .unwrap();
    assert!(directory.path().join("app.log").exists());

    control.drain();
    tokio::time::timeout(Duration::from_secs(10), server)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(!socket.exists());
    assert!(TcpStream::connect(&tcp).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_over_tcp_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path());
    let listeners = Listeners::bind(&config.listen, false).unwrap();
    let tcp = listeners.addresses()[1].strip_prefix("tcp:").unwrap().to_owned();
    let control = Control::default();
    let server = Server::start(&config, listeners, &control).await.unwrap();
    let serving = tokio::spawn(server.serve());
    let mut peer = TcpStream::connect(&tcp).await.unwrap();
    let mut bytes = b"HELLO 2.0\n".to_vec();
    logserv_wire::frame::Frame::Admin {
        json: r#"{"command":"stop"}"#,
    }
    .encode(&mut bytes);
    peer.write_all(&bytes).await.unwrap();
    let mut answer = Vec::new();
    peer.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.contains("Unix socket"), "{answer}");
    assert!(!serving.is_finished());
    control.leave();
    serving.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_in_the_backlog_are_served_before_the_server_leaves() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(directory.path());
    config.listen.tcp.clear();
    let listeners = Listeners::bind(&config.listen, false).unwrap();
    let control = Control::default();
    let server = Server::start(&config, listeners, &control).await.unwrap();
    // Connected and sent before anybody accepts; the drain is ordered before, too.
    let mut peers = Vec::new();
    for number in 0..20 {
        let mut peer = UnixStream::connect(&config.listen.unix[0]).await.unwrap();
        let text = String::from_utf8_lossy(IDENTIFY).replace("app.log", &format!("{number}.log"));
        peer.write_all(text.as_bytes()).await.unwrap();
        peers.push(peer);
    }
    control.drain();
    server.serve().await;
    let made = fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(made, 20, "each has been accepted and listened to");
}
