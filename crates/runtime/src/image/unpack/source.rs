//! Turns a layer blob into a stream of tar bytes on a thread of its own, hashing what it hands over.

use std::{
    fs::File,
    io::{self, BufRead, Read, Seek, SeekFrom},
    sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    thread,
};

use crate::image::{digest::Hasher, failure::Failure};

/// A multiple of the tar block, large enough that handing over costs nothing, small enough to stay in the cache.
const CHUNK_BYTES: usize = 256 << 10;
/// Chunks under way between the threads: 2 MiB per layer being unpacked.
const CHUNKS: usize = 8;

/// The whole stream, once it has been read to the end.
pub(super) struct Summary {
    pub(super) digest: String,
    pub(super) bytes: u64,
}

/// Calls `consume` with a reader of the uncompressed stream. The error of the side that failed first is returned:
/// when decompression fails, the consumer only sees its stream end early.
pub(super) fn read<T>(
    blob: File,
    diff_id: &str,
    bytes_max: u64,
    consume: impl FnOnce(ChannelReader) -> Result<T, Failure>,
) -> Result<(T, Summary), Failure> {
    let decoder = decoder(blob)?;
    let hasher = Hasher::like(diff_id);
    let (full_sender, full) = sync_channel(CHUNKS);
    let (empty, empty_receiver) = channel();
    for _ in 0..CHUNKS {
        // The receiver is alive: it is two lines above.
        let _ = empty.send(Vec::new());
    }
    thread::scope(|scope| {
        let producer = scope.spawn(move || produce(decoder, hasher, bytes_max, &full_sender, &empty_receiver));
        let consumed = consume(ChannelReader { full, empty, chunk: Vec::new(), at: 0 });
        let produced =
            producer.join().unwrap_or_else(|_| Err(Failure::corrupt("the decompressor failed unexpectedly")));
        match (consumed, produced) {
            (_, Err(failure)) => Err(failure),
            (Err(failure), Ok(_)) => Err(failure),
            (Ok(value), Ok(Some(summary))) => Ok((value, summary)),
            (Ok(_), Ok(None)) => Err(Failure::corrupt("layer was not read to its end")),
        }
    })
}

/// The first bytes decide: media types of layers are often wrong, and the digest covers the bytes only.
fn decoder(mut blob: File) -> Result<Box<dyn Read + Send>, Failure> {
    let failed = |error| Failure::io("read a layer", error);
    let mut magic = [0; 4];
    let length = read_full(&mut blob, &mut magic).map_err(failed)?;
    blob.seek(SeekFrom::Start(0)).map_err(failed)?;
    Ok(match &magic[..length] {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(io::BufReader::with_capacity(1 << 17, blob))),
        [0x28, 0xb5, 0x2f, 0xfd] => Box::new(zstd::Decoder::new(blob).map_err(failed)?),
        _ => Box::new(blob),
    })
}

/// `None` when the consumer went away.
fn produce(
    mut decoder: impl Read,
    mut hasher: Hasher,
    bytes_max: u64,
    full: &SyncSender<Vec<u8>>,
    empty: &Receiver<Vec<u8>>,
) -> Result<Option<Summary>, Failure> {
    let mut bytes = 0;
    loop {
        let Ok(mut chunk) = empty.recv() else { return Ok(None) };
        chunk.resize(CHUNK_BYTES, 0);
        let length = read_full(&mut decoder, &mut chunk)
            .map_err(|error| Failure::corrupt(format!("layer cannot be decompressed: {error}")))?;
        if length == 0 {
            return Ok(Some(Summary { digest: hasher.finish(), bytes }));
        }
        bytes += length as u64;
        if bytes > bytes_max {
            return Err(Failure::corrupt(format!("layer unpacks to more than {bytes_max} bytes")));
        }
        chunk.truncate(length);
        hasher.update(&chunk);
        if full.send(chunk).is_err() {
            return Ok(None);
        }
    }
}

fn read_full(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match reader.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// The consumer's end: gives chunks back to be filled again.
pub(super) struct ChannelReader {
    full: Receiver<Vec<u8>>,
    empty: Sender<Vec<u8>>,
    chunk: Vec<u8>,
    at: usize,
}

impl BufRead for ChannelReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.chunk.len()
            && let Ok(next) = self.full.recv()
        {
            let used = std::mem::replace(&mut self.chunk, next);
            self.at = 0;
            // The producer may have finished already.
            let _ = self.empty.send(used);
        }
        Ok(&self.chunk[self.at..])
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount;
    }
}

impl Read for ChannelReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}
