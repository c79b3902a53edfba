//! Load for a registry, ours or another: `load ADDRESS CREDENTIALS REPOSITORY WHAT CLIENTS COUNT [SIZE]`.
//!
//! WHAT is `push-blob` (POST and PUT), `post-blob` (one POST), `push-manifest`, `get-blob` or `get-manifest`. Prints
//! one line: requests or pushes per second, and the median, the 99th percentile and the worst in milliseconds. Plain
//! sockets, so that the client costs as little as can be; CREDENTIALS is `USER:PASSWORD` or `-`.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use gantry_registry::digest::Digest;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

type Failure = Box<dyn Error + Send + Sync>;

struct Connection {
    stream: BufReader<TcpStream>,
    head: String,
}

struct Answer {
    status: u16,
    location: String,
    length: usize,
}

impl Connection {
    async fn open(address: &str, credentials: &str) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut head = format!("host: {address}\r\n");
        if credentials != "-" {
            let basic = base64::engine::general_purpose::STANDARD.encode(credentials);
            head.push_str(&format!("authorization: Basic {basic}\r\n"));
        }
        Ok(Self { stream: BufReader::with_capacity(256 * 1024, stream), head })
    }

    async fn send(&mut self, method: &str, path: &str, more: &str, body: &[u8]) -> Result<Answer, Failure> {
        let head = format!("{method} {path} HTTP/1.1\r\n{}{more}content-length: {}\r\n\r\n", self.head, body.len());
        let mut request = head.into_bytes();
        let small = body.len() < 64 * 1024;
        if small {
            request.extend_from_slice(body);
        }
        self.stream.get_mut().write_all(&request).await?;
        if !small {
            self.stream.get_mut().write_all(body).await?;
        }
        self.answer().await
    }

    async fn answer(&mut self) -> Result<Answer, Failure> {
        let mut answer = Answer { status: 0, location: String::new(), length: 0 };
        let mut line = String::new();
        loop {
            line.clear();
            if self.stream.read_line(&mut line).await? == 0 {
                return Err("the connection was closed".into());
            }
            let text = line.trim_end();
            if text.is_empty() {
                break;
            }
            match text.split_once(':') {
                None => answer.status = text.split(' ').nth(1).unwrap_or_default().parse()?,
                Some((name, value)) if name.eq_ignore_ascii_case("location") => {
                    answer.location = value.trim().to_owned()
                }
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    answer.length = value.trim().parse()?
                }
                Some(_) => {}
            }
        }
        let mut left = answer.length;
        while left > 0 {
            let available = self.stream.fill_buf().await?.len().min(left);
            if available == 0 {
                return Err("the connection was closed".into());
            }
            self.stream.consume(available);
            left -= available;
        }
        Ok(answer)
    }
}

/// The path of a `Location`, with `digest` added.
fn finish(location: &str, digest: &Digest) -> String {
    let path =
        location.split_once("://").and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..])).unwrap_or(location);
    let separator = if path.contains('?') { '&' } else { '?' };
    format!("{path}{separator}digest={digest}")
}

fn content(number: usize, size: usize) -> Vec<u8> {
    let mut bytes = vec![b'x'; size];
    let stamp = format!("{number}-{}", std::process::id());
    let length = stamp.len().min(size);
    bytes[..length].copy_from_slice(&stamp.as_bytes()[..length]);
    bytes
}

async fn push_blob(
    connection: &mut Connection,
    repository: &str,
    bytes: &[u8],
    digest: Digest,
) -> Result<Digest, Failure> {
    let started = connection.send("POST", &format!("/v2/{repository}/blobs/uploads/"), "", b"").await?;
    let done = connection
        .send("PUT", &finish(&started.location, &digest), "content-type: application/octet-stream\r\n", bytes)
        .await?;
    if done.status == 201 { Ok(digest) } else { Err(format!("PUT answered {}", done.status).into()) }
}

fn manifest(config: &Digest, size: usize, number: usize) -> String {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config}","size":{size}}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{config}","size":{size}}}],"annotations":{{"n":"{number}-{}"}}}}"#,
        std::process::id()
    )
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, credentials, repository, what, clients, count, rest @ ..] = arguments.as_slice() else {
        return Err("usage: load ADDRESS CREDENTIALS REPOSITORY WHAT CLIENTS COUNT [SIZE]".into());
    };
    let (clients, count): (usize, usize) = (clients.parse()?, count.parse()?);
    let size: usize = rest.first().map_or(Ok(1024), |size| size.parse())?;
    let mut connection = Connection::open(address, credentials).await?;
    let shared = Arc::new(content(usize::MAX, size));
    let blob = push_blob(&mut connection, repository, &shared, Digest::of(&shared)).await?;
    let media_type = "content-type: application/vnd.oci.image.manifest.v1+json\r\n";
    let tagged = manifest(&blob, size, usize::MAX);
    connection.send("PUT", &format!("/v2/{repository}/manifests/bench"), media_type, tagged.as_bytes()).await?;

    let next = Arc::new(AtomicUsize::new(0));
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..clients {
        let (address, credentials, repository, what) =
            (address.clone(), credentials.clone(), repository.clone(), what.clone());
        let (next, blob, shared) = (Arc::clone(&next), blob.clone(), Arc::clone(&shared));
        tasks.push(tokio::spawn(async move {
            let mut connection = Connection::open(&address, &credentials).await?;
            let (mut times, copying) = (Vec::new(), Instant::now());
            let mut bytes = if what.ends_with("-blob") && what != "get-blob" { shared.to_vec() } else { Vec::new() };
            let mut hashing = copying.elapsed();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return Ok::<_, Failure>((times, hashing));
                }
                // What the client does for itself, copying and hashing, is not the registry's time.
                let begun = Instant::now();
                let stamp = content(number, bytes.len().min(64));
                bytes[..stamp.len()].copy_from_slice(&stamp);
                let digest = if bytes.is_empty() { blob.clone() } else { Digest::of(&bytes) };
                hashing += begun.elapsed();
                let at = Instant::now();
                let status = match what.as_str() {
                    "push-blob" => push_blob(&mut connection, &repository, &bytes, digest).await.map(|_| 201)?,
                    "post-blob" => {
                        let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
                        connection.send("POST", &path, "", &bytes).await?.status
                    }
                    "push-manifest" => {
                        let text = manifest(&blob, size, number);
                        let path = format!("/v2/{repository}/manifests/t{}", number % 50);
                        connection.send("PUT", &path, media_type, text.as_bytes()).await?.status
                    }
                    "get-blob" => {
                        connection.send("GET", &format!("/v2/{repository}/blobs/{blob}"), "", b"").await?.status
                    }
                    "get-manifest" => {
                        let accept = "accept: application/vnd.oci.image.manifest.v1+json\r\n";
                        connection.send("GET", &format!("/v2/{repository}/manifests/bench"), accept, b"").await?.status
                    }
                    other => return Err(format!("unknown load {other}").into()),
                };
                if status / 100 != 2 {
                    return Err(format!("answered {status}").into());
                }
                times.push(at.elapsed());
            }
        }));
    }
    let (mut times, mut hashing) = (Vec::new(), Duration::ZERO);
    for task in tasks {
        let (its_times, its_hashing) = task.await??;
        times.extend(its_times);
        hashing += its_hashing;
    }
    // All clients share one thread, so the time any of them hashed was nobody's else.
    let seconds = begun.elapsed().saturating_sub(hashing).as_secs_f64();
    times.sort();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1000.0;
    let rate = count as f64 / seconds;
    let mega = rate * size as f64 / 1e6;
    println!(
        "{what} c{clients} {size} B: {rate:.0}/s, {mega:.0} MB/s, p50 {:.3} ms, p99 {:.3} ms, max {:.3} ms",
        at(0.5),
        at(0.99),
        at(1.0)
    );
    Ok(())
}
