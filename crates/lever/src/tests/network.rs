//! Tests of the error classes when connections are refused, cut or kept open.

use super::*;

#[tokio::test]
async fn a_reset_after_sending_leaves_a_write_unknown_and_is_not_repeated() {
    let (url, seen) = server(reset).await;
    let client = client_at(url.as_str());
    assert_eq!(
        client.add_note(send_deadline(&client).await, ID, "text").await.unwrap_err().class,
        ErrorKind::OutcomeUnknown
    );
    assert_eq!(client.stages().await.unwrap_err().class, ErrorKind::Unavailable);
    assert_eq!((seen.connections(), seen.requests()), (2, 2));
}

#[tokio::test]
async fn a_cut_answer_leaves_a_write_unknown() {
    let (url, _) = server(|stream| {
        bytes(stream, b"HTTP/1.1 201 Created\r\ncontent-length: 500\r\n\r\n{\"data\": {\"noteId\"".to_vec())
    })
    .await;
    let client = client_at(url.as_str());
    let error = client.add_note(send_deadline(&client).await, ID, "text").await.unwrap_err();
    assert_eq!((error.class, error.status), (ErrorKind::OutcomeUnknown, Some(201)));
}

#[tokio::test]
async fn an_unsent_request_is_only_unavailable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    drop(listener);
    let client = client_at(&url);
    let error = client.add_note(send_deadline(&client).await, ID, "text").await.unwrap_err();
    assert_eq!((error.class, error.status), (ErrorKind::Unavailable, None));
    assert!(error.message.starts_with("no connection: Connection refused"), "{error}");
    assert!(!error.to_string().contains("127.0.0.1"), "{error}");
}

#[tokio::test]
async fn writes_use_only_recently_used_connections() {
    let (url, seen) = server(|mut stream| async move {
        let answer = b"HTTP/1.1 201 Created\r\ncontent-length: 25\r\n\r\n{\"data\": {\"noteId\": \"n\"}}";
        loop {
            stream.write_all(answer).await.unwrap();
            if !testing::read_request(&mut stream).await {
                break;
            }
        }
    })
    .await;
    let client = client_at(url.as_str());
    for _ in 0..3 {
        client.add_note(send_deadline(&client).await, ID, "text").await.unwrap();
    }
    assert_eq!(seen.connections(), 1);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    client.add_note(send_deadline(&client).await, ID, "text").await.unwrap();
    assert_eq!(seen.connections(), 2);
}
