//! The file of a backup: a tar archive of parts under zstd, so that `tar` and `zstd` read it too.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
};

use serde::{Deserialize, Serialize};

const BLOCK: usize = 512;
/// From this size on, octal digits do not do any more.
const OCTAL: u64 = 1 << 33;
/// Fast, and still a fifth of most payloads.
const LEVEL: i32 = 1;

/// One part of an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its name, a path in the archive.
    pub name: String,
    /// Bytes in the archive.
    pub size: u64,
    /// BLAKE3 of these bytes, hexadecimal.
    pub blake3: String,
}

/// Writes an archive.
pub struct Writer {
    file: BufWriter<File>,
}

/// Passes bytes on, counted and hashed.
struct Hashing<'a> {
    file: &'a mut BufWriter<File>,
    hash: blake3::Hasher,
    size: u64,
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all(bytes)?;
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Writer {
    /// Into an empty file.
    pub fn new(file: File) -> Self {
        Writer { file: BufWriter::with_capacity(1 << 20, file) }
    }

    /// Adds a part, packed.
    ///
    /// # Errors
    /// What reading or writing says.
    pub fn add_packed(&mut self, name: &str, source: &mut dyn Read) -> io::Result<Part> {
        self.part(name, |out| {
            let mut packer = zstd::stream::write::Encoder::new(out, LEVEL)?;
            io::copy(source, &mut packer)?;
            packer.finish().map(drop)
        })
    }

    /// Adds a part as it is.
    ///
    /// # Errors
    /// What writing says.
    pub fn add(&mut self, name: &str, bytes: &[u8]) -> io::Result<Part> {
        self.part(name, |out| out.write_all(bytes))
    }

    fn part(&mut self, name: &str, write: impl FnOnce(&mut Hashing) -> io::Result<()>) -> io::Result<Part> {
        let begin = self.file.stream_position()?;
        self.file.write_all(&[0; BLOCK])?;
        let mut out = Hashing { file: &mut self.file, hash: blake3::Hasher::new(), size: 0 };
        write(&mut out)?;
        let (size, blake3) = (out.size, out.hash.finalize().to_hex().to_string());
        self.file.write_all(&[0; BLOCK][..padding(size)])?;
        let end = self.file.stream_position()?;
        // How long it is was not known before.
        self.file.seek(SeekFrom::Start(begin))?;
        self.file.write_all(&header(name, size)?)?;
        self.file.seek(SeekFrom::Start(end))?;
        Ok(Part { name: name.to_owned(), size, blake3 })
    }

    /// Ends the archive; it is on the disk afterwards.
    ///
    /// # Errors
    /// What writing says.
    pub fn finish(mut self) -> io::Result<()> {
        self.file.write_all(&[0; BLOCK * 2])?;
        self.file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    }
}

fn padding(size: u64) -> usize {
    (BLOCK - (size % BLOCK as u64) as usize) % BLOCK
}

/// The head of a part, in the form `ustar`.
fn header(name: &str, size: u64) -> io::Result<[u8; BLOCK]> {
    let mut head = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| head[at..at + bytes.len()].copy_from_slice(bytes);
    if name.len() > 100 {
        return Err(io::Error::other("the name of a part is too long"));
    }
    put(0, name.as_bytes());
    put(100, b"0000600\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    match size < OCTAL {
        true => put(124, format!("{size:011o}\0").as_bytes()),
        false => {
            put(124, &[0x80]);
            put(128, &size.to_be_bytes());
        }
    }
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = head.iter().map(|b| u32::from(*b)).sum();
    head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(head)
}

/// Reads an archive.
pub struct Reader {
    file: File,
    parts: Vec<(String, u64, u64)>,
}

impl Reader {
    /// Finds the parts of a file; `None` if it is no whole archive.
    ///
    /// # Errors
    /// What reading says.
    pub fn open(mut file: File) -> io::Result<Option<Reader>> {
        let len = file.metadata()?.len();
        let (mut at, mut parts) = (0, Vec::new());
        let mut head = [0; BLOCK];
        loop {
            if at + BLOCK as u64 > len {
                return Ok(None);
            }
            file.seek(SeekFrom::Start(at))?;
            file.read_exact(&mut head)?;
            if head == [0; BLOCK] {
                return Ok(Some(Reader { file, parts }));
            }
            let Some((name, size)) = read_header(&head) else { return Ok(None) };
            let begin = at + BLOCK as u64;
            let Some(end) = begin.checked_add(size).filter(|end| *end <= len) else { return Ok(None) };
            parts.push((name, begin, size));
            at = end + padding(size) as u64;
        }
    }

    /// The names of the parts in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().map(|p| p.0.as_str())
    }

    /// A part as it lies there.
    ///
    /// # Errors
    /// What reading says.
    pub fn part(&mut self, name: &str) -> io::Result<Option<impl Read>> {
        let Some((_, begin, size)) = self.parts.iter().find(|p| p.0 == name) else { return Ok(None) };
        self.file.seek(SeekFrom::Start(*begin))?;
        Ok(Some((&self.file).take(*size)))
    }

    /// Unpacks a part, and says whether it is what was written.
    ///
    /// # Errors
    /// What writing says; a part that cannot be unpacked is not what was written.
    pub fn unpack(&mut self, part: &Part, out: &mut dyn Write) -> io::Result<bool> {
        let Some(bytes) = self.part(&part.name)? else { return Ok(false) };
        let mut hashing =
            Hashed { bytes: BufReader::with_capacity(1 << 18, bytes), hash: blake3::Hasher::new(), size: 0 };
        let mut unpacker = zstd::stream::read::Decoder::with_buffer(BufReader::with_capacity(1 << 18, &mut hashing))?;
        let mut buffer = vec![0; 1 << 18];
        loop {
            match unpacker.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => out.write_all(&buffer[..n])?,
                Err(_) => return Ok(false),
            }
        }
        drop(unpacker);
        io::copy(&mut hashing, &mut io::sink())?;
        Ok(hashing.size == part.size && hashing.hash.finalize().to_hex().as_str() == part.blake3)
    }
}

struct Hashed<R> {
    bytes: R,
    hash: blake3::Hasher,
    size: u64,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.bytes.read(buffer)?;
        self.hash.update(&buffer[..n]);
        self.size += n as u64;
        Ok(n)
    }
}

fn read_header(head: &[u8; BLOCK]) -> Option<(String, u64)> {
    let mut blank = *head;
    blank[148..156].fill(b' ');
    let sum: u32 = blank.iter().map(|b| u32::from(*b)).sum();
    if u64::from(sum) != octal(&head[148..156])? || &head[257..262] != b"ustar" {
        return None;
    }
    let name = head[..100].split(|b| *b == 0).next()?;
    let size = match head[124] {
        0x80 => u64::from_be_bytes(head[128..136].try_into().ok()?),
        _ => octal(&head[124..136])?,
    };
    Some((std::str::from_utf8(name).ok()?.to_owned(), size))
}

fn octal(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?;
    u64::from_str_radix(text.trim_matches(['\0', ' ']), 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_parts_have_their_size_in_the_header() {
        for size in [0, 511, OCTAL - 1, OCTAL, 1 << 40] {
            assert_eq!(read_header(&header("a/b", size).unwrap()), Some(("a/b".to_owned(), size)));
        }
        assert!(header(&"x".repeat(101), 1).is_err());
    }

    #[test]
    fn what_was_written_is_read_and_what_was_altered_is_noticed() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let mut writer = Writer::new(file.reopen().unwrap());
        let text = b"some words ".repeat(10_000);
        let packed = writer.add_packed("words.zst", &mut text.as_slice()).unwrap();
        let plain = writer.add("plain", b"abc").unwrap();
        writer.finish().unwrap();
        let whole = std::fs::read(file.path()).unwrap();
        let mut reader = Reader::open(file.reopen().unwrap()).unwrap().unwrap();
        assert_eq!(reader.names().collect::<Vec<_>>(), ["words.zst", "plain"]);
        let mut out = Vec::new();
        assert!(reader.unpack(&packed, &mut out).unwrap() && out == text);
        assert_eq!((plain.size, reader.part("other").unwrap().is_some()), (3, false));
        let mut altered = whole.clone();
        altered[BLOCK + 20] ^= 1;
        std::fs::write(file.path(), &altered).unwrap();
        let mut reader = Reader::open(file.reopen().unwrap()).unwrap().unwrap();
        assert!(!reader.unpack(&packed, &mut io::sink()).unwrap());
        for cut in [0, 100, BLOCK + 5, whole.len() - 2 * BLOCK] {
            file.as_file_mut().set_len(0).unwrap();
            std::fs::write(file.path(), &whole[..cut]).unwrap();
            assert!(Reader::open(file.reopen().unwrap()).unwrap().is_none(), "{cut}");
        }
    }
}
