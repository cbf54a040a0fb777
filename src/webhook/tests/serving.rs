//! The endpoint on a real socket.

use super::fake::*;
use crate::webhook::serve;
use crate::webhook::server::MAX_CONNECTIONS;
use serde_json::json;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

async fn start() -> (SocketAddr, CancellationToken, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let receiver = receiver(&ApiServer::default(), scope(vec![connection()], vec![], vec![]));
    (address, stop.clone(), tokio::spawn(serve(listener, receiver, stop)))
}

fn head(length: usize) -> String {
    format!("POST /webhooks/lever/hiring/acme HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n")
}

async fn answer(client: &mut TcpStream) -> String {
    let mut answer = vec![0; 4096];
    let length = timeout(Duration::from_secs(20), client.read(&mut answer)).await.unwrap().unwrap();
    String::from_utf8(answer[..length].to_vec()).unwrap()
}

#[tokio::test]
async fn requests_in_flight_are_answered_at_shutdown() {
    let (address, stop, served) = start().await;
    let body = delivery("candidateHired", json!({})).to_string();
    let mut idle = TcpStream::connect(address).await.unwrap();
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all((head(body.len()) + &body[..10]).as_bytes()).await.unwrap();
    sleep(Duration::from_millis(200)).await;
    stop.cancel();
    sleep(Duration::from_millis(200)).await;
    assert!(!served.is_finished());
    assert!(TcpStream::connect(address).await.is_err());
    client.write_all(&body.as_bytes()[10..]).await.unwrap();
    let answer = answer(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(r#"{"outcome":"Verified"}"#), "{answer}");
    timeout(Duration::from_secs(5), served).await.unwrap().unwrap();
    assert_eq!(idle.read(&mut [0; 1]).await.unwrap_or_default(), 0);
}

#[tokio::test]
async fn a_large_body_is_answered_not_reset() {
    let (address, _stop, _served) = start().await;
    let mut client = TcpStream::connect(address).await.unwrap();
    let length = 2 * 1024 * 1024;
    client.write_all(head(length).as_bytes()).await.unwrap();
    client.write_all(&vec![b' '; length]).await.unwrap();
    assert!(answer(&mut client).await.starts_with("HTTP/1.1 413"));
}

#[tokio::test(start_paused = true)]
async fn a_client_with_slow_headers_is_disconnected() {
    let (address, _stop, _served) = start().await;
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"POST / HT").await.unwrap();
    let cut = timeout(Duration::from_secs(13), client.read(&mut [0; 512])).await;
    assert!(matches!(cut, Ok(Ok(0) | Err(_))), "{cut:?}");
}

#[tokio::test]
async fn a_large_head_is_refused() {
    let (address, _stop, _served) = start().await;
    for header in ["X: ".to_owned() + &"x".repeat(64 * 1024), "X: x\r\n".repeat(200) + "X: x"] {
        let mut client = TcpStream::connect(address).await.unwrap();
        let _ = client.write_all(format!("POST / HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n").as_bytes()).await;
        assert!(answer(&mut client).await.starts_with("HTTP/1.1 431"));
    }
}

/// The responses fill all buffers on the way; without a limit, the connection would keep its slot forever.
#[tokio::test(start_paused = true)]
async fn a_client_that_reads_no_responses_is_disconnected() {
    let (address, _stop, _served) = start().await;
    let mut client = TcpStream::connect(address).await.unwrap();
    let request = b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".repeat(1000);
    let sending = async { while client.write_all(&request).await.is_ok() {} };
    timeout(Duration::from_secs(120), sending).await.expect("it is cut");
}

async fn request_and_answer(client: &mut TcpStream) -> String {
    client.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    answer(client).await
}

/// Load balancers keep connections for 60 s. A request that is sent while the endpoint closes the connection is lost.
#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_kept_for_longer_than_balancers_do() {
    let (address, _stop, _served) = start().await;
    let mut client = TcpStream::connect(address).await.unwrap();
    for idle in [0, 11, 61, 74] {
        sleep(Duration::from_secs(idle)).await;
        assert!(request_and_answer(&mut client).await.starts_with("HTTP/1.1 200"), "after {idle} s");
    }
    let closed = timeout(Duration::from_secs(80), client.read(&mut [0; 1])).await;
    assert!(matches!(closed, Ok(Ok(0) | Err(_))), "{closed:?}");
}

#[tokio::test]
async fn idle_connections_make_room_for_new_ones() {
    let (address, _stop, _served) = start().await;
    let mut idle = Vec::new();
    for _ in 0..MAX_CONNECTIONS + 20 {
        let mut client = TcpStream::connect(address).await.unwrap();
        let answer = timeout(Duration::from_secs(5), request_and_answer(&mut client)).await;
        assert!(answer.expect("it waits for a place").starts_with("HTTP/1.1 200"));
        idle.push(client);
    }
    assert_eq!(idle[0].read(&mut [0; 1]).await.unwrap_or_default(), 0, "the oldest was closed");
    assert!(request_and_answer(idle.last_mut().unwrap()).await.starts_with("HTTP/1.1 200"));
}
