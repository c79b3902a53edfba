//! Turns a layer blob into a stream of tar bytes: one thread inflates, one hashes, the caller reads.

use std::{
    io::{self, BufRead, Read},
    sync::{
        Arc,
        mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    },
    thread,
};

use crate::{LayerError, digest::Hasher};

/// A multiple of the tar block, large enough that handing over costs nothing, small enough to stay in the cache.
const CHUNK_BYTES: usize = 256 << 10;
/// Chunks that may wait for each of the two readers: 4 MiB at most per layer being read.
const CHUNKS: usize = 6;

type Chunk = Arc<Vec<u8>>;

/// The whole stream, once it has been read to the end.
pub(crate) struct Summary {
    pub(crate) digest: String,
    pub(crate) bytes: u64,
}

/// Calls `consume` with a reader of the uncompressed stream. The error of the side that failed first is returned:
/// when decompression fails, the consumer only sees its stream end early.
pub(crate) fn read<T>(
    blob: impl Read + Send,
    diff_id: &str,
    bytes_max: u64,
    consume: impl FnOnce(ChunkReader) -> Result<T, LayerError>,
) -> Result<(T, Summary), LayerError> {
    let mut hasher = Hasher::like(diff_id);
    let (chunks_sender, chunks) = sync_channel(CHUNKS);
    let (to_hash_sender, to_hash) = sync_channel::<Chunk>(CHUNKS);
    let (empty, empty_receiver) = channel();
    let hashed = empty.clone();
    thread::scope(|scope| {
        let hashing = scope.spawn(move || {
            while let Ok(chunk) = to_hash.recv() {
                hasher.update(&chunk);
                recycle(chunk, &hashed);
            }
            hasher.finish()
        });
        let producing = scope.spawn(move || {
            let out = Out { reader: chunks_sender, hasher: to_hash_sender, empty: empty_receiver };
            produce(decoder(blob)?, bytes_max, &out)
        });
        let consumed = consume(ChunkReader { chunks, empty, chunk: Chunk::default(), at: 0 });
        let produced =
            producing.join().unwrap_or_else(|_| Err(LayerError::corrupt("the decompressor failed unexpectedly")));
        let digest = hashing.join().map_err(|_| LayerError::corrupt("the hash failed unexpectedly"));
        match (consumed, produced) {
            (_, Err(error)) | (Err(error), Ok(_)) => Err(error),
            (Ok(value), Ok(Some(bytes))) => Ok((value, Summary { digest: digest?, bytes })),
            (Ok(_), Ok(None)) => Err(LayerError::corrupt("layer was not read to its end")),
        }
    })
}

/// The first bytes decide: media types of layers are often wrong, and the digest covers the bytes only.
fn decoder<'a>(mut blob: impl Read + Send + 'a) -> Result<Box<dyn Read + Send + 'a>, LayerError> {
    let failed = |error| LayerError::io("read a layer", error);
    let mut magic = vec![0; 4];
    let length = read_full(&mut blob, &mut magic).map_err(failed)?;
    magic.truncate(length);
    let kind: [u8; 4] = magic.as_slice().try_into().unwrap_or_default();
    let blob = io::Cursor::new(magic).chain(blob);
    Ok(match kind {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(io::BufReader::with_capacity(1 << 17, blob))),
        [0x28, 0xb5, 0x2f, 0xfd] => Box::new(zstd::Decoder::new(blob).map_err(failed)?),
        _ => Box::new(blob),
    })
}

/// Where the producer puts a chunk, and takes an empty one from.
struct Out {
    reader: SyncSender<Chunk>,
    hasher: SyncSender<Chunk>,
    empty: Receiver<Vec<u8>>,
}

/// Returns the length of the stream, or `None` when the consumer went away.
fn produce(mut decoder: impl Read, bytes_max: u64, out: &Out) -> Result<Option<u64>, LayerError> {
    let mut bytes = 0;
    loop {
        // Never waits for an empty one: the two channels are the bound, and whoever goes away closes them.
        let mut chunk = out.empty.try_recv().unwrap_or_default();
        chunk.resize(CHUNK_BYTES, 0);
        let length = read_full(&mut decoder, &mut chunk)
            .map_err(|error| LayerError::corrupt(format!("layer cannot be decompressed: {error}")))?;
        if length == 0 {
            return Ok(Some(bytes));
        }
        bytes += length as u64;
        if bytes > bytes_max {
            return Err(LayerError::corrupt(format!("layer unpacks to more than {bytes_max} bytes")));
        }
        chunk.truncate(length);
        let chunk = Arc::new(chunk);
        if out.hasher.send(chunk.clone()).is_err() || out.reader.send(chunk).is_err() {
            return Ok(None);
        }
    }
}

/// The last one who is done with a chunk gives it back to be filled again.
fn recycle(chunk: Chunk, empty: &Sender<Vec<u8>>) {
    if let Some(used) = Arc::into_inner(chunk) {
        // The producer may have finished already.
        let _ = empty.send(used);
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

/// The consumer's end.
pub(crate) struct ChunkReader {
    chunks: Receiver<Chunk>,
    empty: Sender<Vec<u8>>,
    chunk: Chunk,
    at: usize,
}

impl BufRead for ChunkReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.chunk.len()
            && let Ok(next) = self.chunks.recv()
        {
            let used = std::mem::replace(&mut self.chunk, next);
            self.at = 0;
            // The very first one never came from the producer.
            if !used.is_empty() {
                recycle(used, &self.empty);
            }
        }
        Ok(&self.chunk[self.at..])
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount;
    }
}

impl Read for ChunkReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}
