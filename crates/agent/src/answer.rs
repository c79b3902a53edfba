//! Bodies of answers to the agent's HTTP requests, of which no more is read than the caller wants.

use reqwest::Response;

/// The body of an answer; of a longer one its first `bytes_max`.
///
/// # Errors
/// It breaks off.
pub(crate) async fn body(mut answer: Response, bytes_max: usize) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while body.len() < bytes_max
        && let Some(part) = answer.chunk().await?
    {
        body.extend_from_slice(part.get(..bytes_max - body.len()).unwrap_or(&part));
    }
    Ok(body)
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        task::JoinHandle,
    };

    /// An answer that says `x` without end, and its server, which ends when nobody reads any more.
    pub(crate) async fn endless(status: &'static str) -> (reqwest::Response, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await.unwrap();
            stream.write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes()).await.unwrap();
            while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
        });
        drop(rustls::crypto::ring::default_provider().install_default());
        let answer = reqwest::Client::builder().no_proxy().build().unwrap().get(url).send().await.unwrap();
        (answer, server)
    }

    #[tokio::test]
    async fn an_answer_without_end_is_read_as_far_as_is_wanted() {
        let (answer, server) = endless("200 OK").await;
        assert_eq!(super::body(answer, 10_000).await.unwrap(), vec![b'x'; 10_000]);
        server.await.unwrap();
    }
}
