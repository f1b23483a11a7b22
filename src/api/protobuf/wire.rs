//! The wire format of protobuf: numbered fields in a row.

use super::ProtobufError;

/// The value of one field as it stands on the wire.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Field<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

/// Reads fields off the front of a message.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    /// The next field and its number; `None` at the end.
    pub(super) fn field(&mut self) -> Result<Option<(u32, Field<'a>)>, ProtobufError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|number| *number > 0).ok_or(ProtobufError::Wire)?;
        let value = match tag & 7 {
            0 => Field::Varint(self.varint()?),
            1 => Field::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| ProtobufError::Wire)?;
                Field::Bytes(self.take(length)?)
            }
            5 => Field::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return Err(ProtobufError::Wire),
        };
        Ok(Some((number, value)))
    }

    pub(super) fn varint(&mut self) -> Result<u64, ProtobufError> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(ProtobufError::Wire)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], ProtobufError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(ProtobufError::Wire)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ProtobufError> {
        self.take(N)?.try_into().map_err(|_| ProtobufError::Wire)
    }
}

pub(super) fn text(bytes: &[u8]) -> Result<String, ProtobufError> {
    std::str::from_utf8(bytes).map(str::to_string).map_err(|_| ProtobufError::Text)
}

/// A number as it stands on the wire: the bytes, and how many of them.
fn varint(mut number: u64) -> ([u8; 10], usize) {
    let (mut bytes, mut length) = ([0; 10], 0);
    while number > 0x7f {
        bytes[length] = (number & 0x7f) as u8 | 0x80;
        number >>= 7;
        length += 1;
    }
    bytes[length] = number as u8;
    (bytes, length + 1)
}

pub(super) fn put_varint(number: u64, out: &mut Vec<u8>) {
    match u8::try_from(number) {
        Ok(short @ 0..=0x7f) => out.push(short),
        _ => {
            let (bytes, length) = varint(number);
            out.extend_from_slice(&bytes[..length]);
        }
    }
}

pub(super) fn put_varint_field(number: u32, value: u64, out: &mut Vec<u8>) {
    put_varint(u64::from(number) << 3, out);
    put_varint(value, out);
}

pub(super) fn put_double(number: u32, value: f64, out: &mut Vec<u8>) {
    put_varint(u64::from(number) << 3 | 1, out);
    out.extend_from_slice(&value.to_bits().to_le_bytes());
}

pub(super) fn put_bytes(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(u64::from(number) << 3 | 2, out);
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Begins a field of a length that is not known yet; [`close`] takes what this returns.
pub(super) fn open(number: u32, out: &mut Vec<u8>) -> usize {
    put_varint(u64::from(number) << 3 | 2, out);
    out.push(0);
    out.len()
}

/// Ends the field that begins at `at`. Most are short, so one byte of length was left for them.
pub(super) fn close(at: usize, out: &mut Vec<u8>) {
    let length = out.len() - at;
    if let Ok(short @ 0..=0x7f) = u8::try_from(length) {
        out[at - 1] = short;
        return;
    }
    let (varint, size) = varint(length as u64);
    let more = size - 1;
    out.resize(out.len() + more, 0);
    out.copy_within(at..at + length, at + more);
    out[at - 1..at + more].copy_from_slice(&varint[..size]);
}
