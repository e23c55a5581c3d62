//! The aws-chunked decoder: a state machine that is fed bytes and gives events. It holds one line at most; data passes
//! through by reference.
//!
//! ```text
//! chunk   = size-hex [";chunk-signature=" 64 hex] CRLF data CRLF
//! body    = *chunk last-chunk(size 0, no data) (CRLF | *trailer [x-amz-trailer-signature] CRLF)
//! ```

use std::fmt;

use bytes::{Buf, Bytes};

use crate::body::ChunkSigner;

/// One chunk line: size, signature, room for extensions that we ignore.
pub const CHUNK_LINE_BYTES_MAX: usize = 1_024;
/// Hex digits of a size; more would pass u64.
const SIZE_DIGITS_MAX: usize = 16;
const TRAILER_SIGNATURE: &str = "x-amz-trailer-signature";

/// Limits of one body.
#[derive(Debug, Clone, Copy)]
pub struct ChunkLimits {
    /// `x-amz-decoded-content-length`: exactly so many bytes must come.
    pub decoded_length: u64,
    /// One signed chunk. (The signature of a chunk is known right only at its end.)
    pub signed_chunk_bytes_max: u64,
    /// All trailers together, names and values.
    pub trailer_bytes_max: usize,
}

/// What the decoder found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChunkEvent {
    /// Decoded bytes.
    Data(Bytes),
    /// A trailer, its name in lower case.
    Trailer(String, String),
    /// The body is whole and every signature in it right.
    End,
}

/// Why a body was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// Not the format above.
    #[error("{0}")]
    Malformed(&'static str),
    /// A line without an end.
    #[error("a chunk header is longer than {CHUNK_LINE_BYTES_MAX} bytes")]
    LineTooLong,
    /// More trailers than allowed.
    #[error("the trailers are longer than {0} bytes")]
    TrailersTooLong(usize),
    /// A signed chunk above the limit.
    #[error("a signed chunk of {size} bytes is above the limit of {max} bytes: send smaller chunks")]
    ChunkTooLarge {
        /// Announced.
        size: u64,
        /// Allowed.
        max: u64,
    },
    /// More or fewer bytes than `x-amz-decoded-content-length`.
    #[error("{came} decoded bytes came where {announced} were announced")]
    Length {
        /// Bytes, with those that a chunk header announced.
        came: u64,
        /// Bytes that should have come.
        announced: u64,
    },
    /// A chunk's or the trailers' signature is wrong.
    #[error("the signature of chunk {0} does not match")]
    Signature(u64),
    /// The trailers' signature is wrong or missing.
    #[error("the signature of the trailers does not match")]
    TrailerSignature,
}

enum State {
    /// Within a chunk header line.
    Header,
    /// Within a chunk's data.
    Data { left: u64 },
    /// Between data and the next header.
    DataEnd,
    /// Within a trailer line.
    Trailer,
    /// After the last byte.
    End,
}

/// Decodes one aws-chunked body.
pub struct ChunkDecoder {
    state: State,
    line: Vec<u8>,
    signer: Option<ChunkSigner>,
    signature: String,
    trailer: bool,
    limits: ChunkLimits,
    decoded: u64,
    chunks: u64,
    trailers: Vec<u8>,
    trailers_verified: bool,
}

impl fmt::Debug for ChunkDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkDecoder").field("decoded", &self.decoded).field("chunks", &self.chunks).finish()
    }
}

impl ChunkDecoder {
    /// With a signer, each chunk (and the trailers, where there are any) must be signed.
    pub fn new(signer: Option<ChunkSigner>, trailer: bool, limits: ChunkLimits) -> Self {
        Self {
            state: State::Header,
            line: Vec::new(),
            signer,
            signature: String::new(),
            trailer,
            limits,
            decoded: 0,
            chunks: 0,
            trailers: Vec::new(),
            trailers_verified: false,
        }
    }

    /// Bytes decoded so far.
    pub fn decoded(&self) -> u64 {
        self.decoded
    }

    /// Takes from `input` until there is an event; `None` when it wants more bytes.
    pub fn push(&mut self, input: &mut Bytes) -> Result<Option<ChunkEvent>, ChunkError> {
        loop {
            match self.state {
                State::Header => {
                    if !self.take_line(input)? {
                        return Ok(None);
                    }
                    self.header_line()?;
                }
                State::Data { left } => {
                    if left == 0 {
                        self.end_of_data()?;
                        continue;
                    }
                    if input.is_empty() {
                        return Ok(None);
                    }
                    let count = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                    let data = input.split_to(count);
                    if let Some(signer) = &mut self.signer {
                        signer.update(&data);
                    }
                    self.state = State::Data { left: left - count as u64 };
                    self.decoded += count as u64;
                    return Ok(Some(ChunkEvent::Data(data)));
                }
                State::DataEnd => {
                    if !self.take_line(input)? {
                        return Ok(None);
                    }
                    if self.line != b"\r\n" {
                        return Err(ChunkError::Malformed("a chunk is longer than its header says"));
                    }
                    self.line.clear();
                    self.state = State::Header;
                }
                State::Trailer => {
                    if !self.take_line(input)? {
                        return Ok(None);
                    }
                    if let Some(event) = self.trailer_line()? {
                        return Ok(Some(event));
                    }
                }
                State::End => {
                    if input.is_empty() {
                        return Ok(None);
                    }
                    return Err(ChunkError::Malformed("bytes follow the end of the body"));
                }
            }
        }
    }

    /// To be called when no more input comes: says whether the body is whole.
    pub fn finish(&self) -> Result<(), ChunkError> {
        let (came, announced) = (self.decoded, self.limits.decoded_length);
        match self.state {
            State::End => Ok(()),
            _ if came < announced => Err(ChunkError::Length { came, announced }),
            _ => Err(ChunkError::Malformed("the body ends before its last chunk")),
        }
    }

    /// Collects a line into `self.line`, its end included; true when it is whole.
    fn take_line(&mut self, input: &mut Bytes) -> Result<bool, ChunkError> {
        let max = match self.state {
            State::Trailer => self.limits.trailer_bytes_max,
            State::DataEnd => 2,
            _ => CHUNK_LINE_BYTES_MAX,
        };
        let end = input.iter().position(|b| *b == b'\n');
        let count = end.map_or(input.len(), |end| end + 1);
        if self.line.len() + count > max {
            return Err(match self.state {
                State::Trailer => ChunkError::TrailersTooLong(max),
                State::DataEnd => ChunkError::Malformed("a chunk is longer than its header says"),
                _ => ChunkError::LineTooLong,
            });
        }
        self.line.extend_from_slice(&input[..count]);
        input.advance(count);
        Ok(end.is_some())
    }

    fn header_line(&mut self) -> Result<(), ChunkError> {
        let line = std::mem::take(&mut self.line);
        let text = line
            .strip_suffix(b"\r\n")
            .and_then(|line| std::str::from_utf8(line).ok())
            .ok_or(ChunkError::Malformed("a chunk header does not end with CRLF"))?;
        let mut fields = text.split(';');
        let digits = fields.next().unwrap_or("").trim_end();
        if digits.is_empty()
            || digits.len() > SIZE_DIGITS_MAX
            || !digits.bytes().all(|b| b.is_ascii_hexdigit())
        {
            return Err(ChunkError::Malformed("a chunk size is not a hexadecimal number"));
        }
        let size = u64::from_str_radix(digits, 16)
            .map_err(|_| ChunkError::Malformed("a chunk size is not a hexadecimal number"))?;
        if self.signer.is_some() {
            let signature = fields
                .find_map(|field| field.trim().strip_prefix("chunk-signature="))
                .ok_or(ChunkError::Malformed("a chunk has no chunk-signature"))?;
            signature.clone_into(&mut self.signature);
            let max = self.limits.signed_chunk_bytes_max;
            if size > max {
                return Err(ChunkError::ChunkTooLarge { size, max });
            }
        }
        let came = self.decoded.saturating_add(size);
        let announced = self.limits.decoded_length;
        if came > announced || (size == 0 && came < announced) {
            return Err(ChunkError::Length { came, announced });
        }
        self.chunks += 1;
        if size > 0 {
            self.state = State::Data { left: size };
            return Ok(());
        }
        self.verify_chunk()?;
        self.state = State::Trailer;
        Ok(())
    }

    fn end_of_data(&mut self) -> Result<(), ChunkError> {
        self.verify_chunk()?;
        self.state = State::DataEnd;
        Ok(())
    }

    fn verify_chunk(&mut self) -> Result<(), ChunkError> {
        let right = self.signer.as_mut().is_none_or(|signer| signer.end_chunk(&self.signature));
        if right { Ok(()) } else { Err(ChunkError::Signature(self.chunks)) }
    }

    fn trailer_line(&mut self) -> Result<Option<ChunkEvent>, ChunkError> {
        let mut line = std::mem::take(&mut self.line);
        while matches!(line.last(), Some(b'\r' | b'\n')) {
            line.pop();
        }
        if line.is_empty() {
            let signed = self.signer.is_some() && self.trailer && !self.trailers.is_empty();
            if signed && !self.trailers_verified {
                return Err(ChunkError::TrailerSignature);
            }
            self.state = State::End;
            return Ok(Some(ChunkEvent::End));
        }
        if !self.trailer || self.trailers_verified {
            return Err(ChunkError::Malformed("a trailer stands where none was announced"));
        }
        let (name, value) = std::str::from_utf8(&line)
            .ok()
            .and_then(|line| line.split_once(':'))
            .ok_or(ChunkError::Malformed("a trailer is not `name:value`"))?;
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        if name == TRAILER_SIGNATURE {
            if let Some(signer) = &mut self.signer
                && !signer.end_trailers(&self.trailers, value)
            {
                return Err(ChunkError::TrailerSignature);
            }
            self.trailers_verified = true;
            return Ok(None);
        }
        if self.trailers.len() + line.len() > self.limits.trailer_bytes_max {
            return Err(ChunkError::TrailersTooLong(self.limits.trailer_bytes_max));
        }
        self.trailers.extend(format!("{name}:{value}\n").into_bytes());
        Ok(Some(ChunkEvent::Trailer(name, value.to_owned())))
    }
}

/// A whole aws-chunked body, decoded at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decoded {
    /// The bytes.
    pub data: Vec<u8>,
    /// The trailers, names in lower case.
    pub trailers: Vec<(String, String)>,
}

/// Decodes a whole body: for tests and fuzzing. `pieces` is how it arrives.
pub fn decode_aws_chunked<'a>(
    mut decoder: ChunkDecoder,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Decoded, ChunkError> {
    let mut decoded = Decoded::default();
    for piece in pieces {
        let mut input = Bytes::copy_from_slice(piece);
        while let Some(event) = decoder.push(&mut input)? {
            match event {
                ChunkEvent::Data(data) => decoded.data.extend_from_slice(&data),
                ChunkEvent::Trailer(name, value) => decoded.trailers.push((name, value)),
                ChunkEvent::End => {}
            }
        }
    }
    decoder.finish()?;
    Ok(decoded)
}
