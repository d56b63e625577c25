//! What a whole recording says of itself at its end, found without reading what comes before.
//!
//! ```text
//! header │ chunk │ chunk │ … │ last chunk … end: why, events │ and no tail
//!          └─ 24 bytes ┴─ of each, to find the next ─┘ └─ read
//! ```
//!
//! The payloads of all other chunks stay unread, so damage inside of them is not seen here: [`read`](super::read::read) is
//! for whoever looks at the events. A recording without an end, or with a last chunk that cannot be understood by itself,
//! says nothing here.

use super::decode::{Decoder, Item};
use super::format::{
    CHUNK_HEADER_BYTES, ChunkHeader, Ending, HEADER_BYTES, Header, MOST_LOGS, checksum,
};
use super::read::{read_whole, tail_of};
use super::tables::Tables;
use std::fs::File;
use std::io;
use std::path::Path;

/// The last words of a recording that ended as its process meant it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Last {
    /// Why it ended.
    pub why: Ending,
    /// Events that were written.
    pub events: u64,
    /// Bytes of the file.
    pub bytes: u64,
}

/// The last words of the recording at `path`; `None` if it is none, or says nothing by itself.
///
/// # Errors
/// When the system refuses.
pub fn last(path: &Path) -> io::Result<Option<Last>> {
    let file = File::open(path)?;
    let mut bytes = [0; HEADER_BYTES];
    if tail_of(path).exists() || !read_whole(&file, &mut bytes, 0)? {
        return Ok(None);
    }
    let Ok(header) = Header::parse(&bytes) else {
        return Ok(None);
    };
    let Some((chunk, at)) = last_chunk(&file)? else {
        return Ok(None);
    };
    let mut payload = vec![0; chunk.len as usize];
    let is_there = read_whole(&file, &mut payload, at)?;
    if !is_there || checksum(&payload) != chunk.checksum {
        return Ok(None);
    }
    let bytes = at + payload.len() as u64;
    let end = end_of(&payload, header.has_stacks);
    Ok(end.map(|(why, events)| Last { why, events, bytes }))
}

/// The header of the chunk that ends where the file does, and where its payload begins. `None` if the chunks do not
/// follow each other up to there.
fn last_chunk(file: &File) -> io::Result<Option<(ChunkHeader, u64)>> {
    let len = file.metadata()?.len();
    let mut next_of = [0; MOST_LOGS];
    let mut at = HEADER_BYTES as u64;
    loop {
        let mut bytes = [0; CHUNK_HEADER_BYTES];
        if !read_whole(file, &mut bytes, at)? {
            return Ok(None);
        }
        let Some(chunk) = ChunkHeader::parse(&bytes) else {
            return Ok(None);
        };
        let next = &mut next_of[chunk.log as usize];
        if chunk.number != *next {
            return Ok(None);
        }
        *next += 1;
        at += CHUNK_HEADER_BYTES as u64;
        if at + u64::from(chunk.len) >= len {
            return Ok(Some((chunk, at)));
        }
        at += u64::from(chunk.len);
    }
}

/// The end, if that is what comes last. `None` also where an event names what an earlier chunk defined.
fn end_of(payload: &[u8], has_stacks: bool) -> Option<(Ending, u64)> {
    let (mut decoder, mut tables) = (Decoder::new(has_stacks), Tables::default());
    let mut end = None;
    while let Some(item) = decoder.next(payload, &mut tables).ok()? {
        end = match item {
            Item::End { why, events } => Some((why, events)),
            _ => None,
        };
    }
    end
}
