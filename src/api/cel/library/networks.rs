//! Addresses and ranges of them: `ip('10.0.0.1')`, `cidr('10.0.0.0/8').containsIP('10.1.2.3')`.

use std::fmt::{self, Display};
use std::net::{IpAddr, Ipv6Addr};

use super::{Function, Outcome};
use crate::cel::error::EvalError;
use crate::cel::value::Value;
use crate::field::quote;

/// An address and how many of its leading bits tell the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    bits: u8,
}

impl Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl Cidr {
    pub(crate) fn bits(&self) -> u8 {
        self.bits
    }

    fn masked(&self) -> Cidr {
        let address = match self.address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                IpAddr::V4((address.to_bits() & mask).into())
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                IpAddr::V6((address.to_bits() & mask).into())
            }
        };
        Cidr { address, bits: self.bits }
    }

    fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4() && Cidr { address, bits: self.bits }.masked() == self.masked()
    }
}

pub(super) fn function(name: &str) -> Option<Function> {
    Some(match name {
        "ip" => |args| match &args[0] {
            Value::String(text) => parse_ip(text).map(Value::Ip).map_err(EvalError::other),
            Value::Cidr(cidr) => Ok(Value::Ip(cidr.address)),
            _ => Err(EvalError::overload()),
        },
        "isIP" => |args| text(args, |text| Ok(Value::Bool(parse_ip(text).is_ok()))),
        "ip.isCanonical" => |args| {
            text(args, |text| {
                let address = parse_ip(text).map_err(EvalError::other)?;
                Ok(Value::Bool(address.to_string() == text))
            })
        },
        "family" => |args| ip(args, |ip| Value::Int(if ip.is_ipv4() { 4 } else { 6 })),
        "isUnspecified" => |args| ip(args, |ip| Value::Bool(ip.is_unspecified())),
        "isLoopback" => |args| ip(args, |ip| Value::Bool(ip.is_loopback())),
        "isLinkLocalMulticast" => |args| {
            ip(args, |ip| {
                Value::Bool(match ip {
                    IpAddr::V4(ip) => ip.octets()[..3] == [224, 0, 0],
                    IpAddr::V6(ip) => ip.segments()[0] & 0xff0f == 0xff02,
                })
            })
        },
        "isLinkLocalUnicast" => |args| ip(args, |ip| Value::Bool(is_link_local(ip))),
        "isGlobalUnicast" => |args| {
            ip(args, |ip| {
                let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
                Value::Bool(
                    !(broadcast || ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || is_link_local(ip)),
                )
            })
        },
        "cidr" => |args| text(args, |text| parse_cidr(text).map(Value::Cidr).map_err(conversion)),
        "isCIDR" => |args| text(args, |text| Ok(Value::Bool(parse_cidr(text).is_ok()))),
        "containsIP" => contains_ip,
        "containsCIDR" => contains_cidr,
        "prefixLength" => |args| cidr(args, |cidr| Value::Int(cidr.bits.into())),
        "masked" => |args| cidr(args, |cidr| Value::Cidr(cidr.masked())),
        _ => return None,
    })
}

fn text<'a>(args: &[Value<'a>], of: fn(&str) -> Outcome<'a>) -> Outcome<'a> {
    match &args[0] {
        Value::String(text) => of(text),
        _ => Err(EvalError::overload()),
    }
}

fn ip<'a>(args: &[Value<'a>], of: fn(IpAddr) -> Value<'a>) -> Outcome<'a> {
    match &args[0] {
        Value::Ip(address) => Ok(of(*address)),
        _ => Err(EvalError::overload()),
    }
}

fn cidr<'a>(args: &[Value<'a>], of: fn(&Cidr) -> Value<'a>) -> Outcome<'a> {
    match &args[0] {
        Value::Cidr(cidr) => Ok(of(cidr)),
        _ => Err(EvalError::overload()),
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.segments()[0] & 0xffc0 == 0xfe80,
    }
}

fn conversion(why: String) -> EvalError {
    EvalError::other(format!("network address parse error during conversion from string: {why}"))
}

fn contains_ip<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let (cidr, address) = match args {
        [Value::Cidr(cidr), Value::Ip(address)] => (cidr, *address),
        [Value::Cidr(cidr), Value::String(text)] => (cidr, parse_ip(text).map_err(EvalError::other)?),
        _ => return Err(EvalError::overload()),
    };
    Ok(Value::Bool(cidr.contains(address)))
}

fn contains_cidr<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let (cidr, inner) = match args {
        [Value::Cidr(cidr), Value::Cidr(inner)] => (cidr, *inner),
        [Value::Cidr(cidr), Value::String(text)] => (cidr, parse_cidr(text).map_err(conversion)?),
        _ => return Err(EvalError::overload()),
    };
    Ok(Value::Bool(cidr.bits <= inner.bits && cidr.contains(inner.address)))
}

fn mapped(address: Ipv6Addr) -> bool {
    address.to_ipv4_mapped().is_some()
}

fn parse_ip(text: &str) -> Result<IpAddr, String> {
    if text.contains('%') && text.split('%').next().is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()) {
        return Err(format!("IP address {} with zone value is not allowed", quote(text)));
    }
    match text.parse() {
        Ok(IpAddr::V6(address)) if mapped(address) => {
            Err(format!("IPv4-mapped IPv6 address {} is not allowed", quote(text)))
        }
        Ok(address) => Ok(address),
        Err(_) => {
            let quoted = quote(text);
            let why = if text.contains(':') { "unexpected character" } else { "unable to parse IP" };
            Err(format!("IP Address {quoted} parse error during conversion from string: ParseAddr({quoted}): {why}"))
        }
    }
}

fn parse_cidr(text: &str) -> Result<Cidr, String> {
    let refused = |why: &str| {
        format!("network address parse error during conversion from string: netip.ParsePrefix({}): {why}", quote(text))
    };
    let (address, bits) = text.rsplit_once('/').ok_or_else(|| refused("no '/'"))?;
    let address: IpAddr =
        address.parse().map_err(|_| refused(&format!("ParseAddr({}): unable to parse IP", quote(address))))?;
    let plain = !bits.is_empty() && bits.bytes().all(|b| b.is_ascii_digit()) && (bits == "0" || !bits.starts_with('0'));
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.parse().ok().filter(|bits: &u8| plain && *bits <= most).ok_or_else(|| {
        if plain {
            refused("prefix length out of range")
        } else {
            refused(&format!("bad bits after slash: {}", quote(bits)))
        }
    })?;
    match address {
        IpAddr::V6(v6) if mapped(v6) => Err(format!("IPv4-mapped IPv6 address {} is not allowed", quote(text))),
        _ => Ok(Cidr { address, bits }),
    }
}
