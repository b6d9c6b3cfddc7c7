//! Addresses of the network, and which of them are not the public internet's.
//!
//! Tables only: nothing is resolved or connected here. The ranges are those of the registries of
//! special-purpose addresses (RFC 6890), with what carries an IPv4 address inside: such an address
//! leads to another than it seems.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Networks of one list.
pub const NETWORKS_MAX: usize = 64;

/// A network: an address and how many of its first bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Reads `10.0.0.0/8`, or one address. `None`: it is none, or has bits beyond its length.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address.parse().ok()?, Some(bits)),
            None => (text.parse().ok()?, None),
        };
        let width = width(address);
        let bits = match bits {
            Some(bits) if bits.bytes().all(|it| it.is_ascii_digit()) => bits.parse().ok()?,
            Some(_) => return None,
            None => width,
        };
        let network = Self { address, bits };
        let is_whole = bits <= width && network.first() == number(address);
        is_whole.then_some(network)
    }

    /// Whether an address is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4()
            && Self { address, bits: self.bits }.first() == self.first()
    }

    /// Its first address as a number.
    fn first(&self) -> u128 {
        let beyond = u32::from(width(self.address)).saturating_sub(u32::from(self.bits));
        number(self.address).checked_shr(beyond).map_or(0, |it| it << beyond)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

const fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

/// What an address is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Anybody's.
    Public,
    /// This machine.
    Loopback,
    /// A private network.
    Private,
    /// The link; also where clouds tell machines their secrets.
    LinkLocal,
    /// Several, or nobody in particular.
    Special,
    /// It carries an IPv4 address to which it leads.
    Translated,
}

impl Reach {
    /// The words for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::LinkLocal => "link-local",
            Self::Special => "a special one",
            Self::Translated => "one that carries another",
        }
    }
}

const V4: [(Ipv4Addr, u32, Reach); 16] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8, Reach::Special),
    (Ipv4Addr::new(10, 0, 0, 0), 8, Reach::Private),
    (Ipv4Addr::new(100, 64, 0, 0), 10, Reach::Private),
    (Ipv4Addr::new(127, 0, 0, 0), 8, Reach::Loopback),
    (Ipv4Addr::new(169, 254, 0, 0), 16, Reach::LinkLocal),
    (Ipv4Addr::new(172, 16, 0, 0), 12, Reach::Private),
    (Ipv4Addr::new(192, 0, 0, 0), 24, Reach::Special),
    (Ipv4Addr::new(192, 0, 2, 0), 24, Reach::Special),
    (Ipv4Addr::new(192, 88, 99, 0), 24, Reach::Special),
    (Ipv4Addr::new(192, 168, 0, 0), 16, Reach::Private),
    (Ipv4Addr::new(198, 18, 0, 0), 15, Reach::Special),
    (Ipv4Addr::new(198, 51, 100, 0), 24, Reach::Special),
    (Ipv4Addr::new(203, 0, 113, 0), 24, Reach::Special),
    // What clouds answer at besides 169.254.169.254.
    (Ipv4Addr::new(168, 63, 129, 16), 32, Reach::LinkLocal),
    (Ipv4Addr::new(224, 0, 0, 0), 4, Reach::Special),
    (Ipv4Addr::new(240, 0, 0, 0), 4, Reach::Special),
];

const V6: [(Ipv6Addr, u32, Reach); 18] = [
    (Ipv6Addr::LOCALHOST, 128, Reach::Loopback),
    (Ipv6Addr::UNSPECIFIED, 128, Reach::Special),
    (Ipv6Addr::UNSPECIFIED, 96, Reach::Translated),
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96, Reach::Translated),
    (Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, 0, 0), 96, Reach::Translated),
    (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96, Reach::Translated),
    (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48, Reach::Translated),
    (Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0), 64, Reach::Special),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, Reach::Translated),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, Reach::Special),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, Reach::Special),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, Reach::Translated),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, Reach::Special),
    (Ipv6Addr::new(0x5f00, 0, 0, 0, 0, 0, 0, 0), 16, Reach::Special),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, Reach::Private),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, Reach::LinkLocal),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, Reach::Private),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, Reach::Special),
];

/// Global addresses of IPv6 are here, and nowhere else.
const V6_GLOBAL: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// What an address is for.
pub fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(address) => {
            let own = u32::from(address);
            let is_in = |(first, bits, _): &&(Ipv4Addr, u32, Reach)| {
                (own ^ u32::from(*first)).leading_zeros() >= *bits
            };
            V4.iter().find(is_in).map_or(Reach::Public, |(.., reach)| *reach)
        }
        IpAddr::V6(address) => {
            let own = u128::from(address);
            let is_within =
                |first: Ipv6Addr, bits: u32| (own ^ u128::from(first)).leading_zeros() >= bits;
            let found = V6.iter().find(|(first, bits, _)| is_within(*first, *bits));
            match found {
                Some((.., reach)) => *reach,
                None if is_within(V6_GLOBAL.0, V6_GLOBAL.1) => Reach::Public,
                None => Reach::Special,
            }
        }
    }
}

/// Whether an upstream may be at an address, where nothing else is known.
///
/// `is_written`: the operator has written it, or `localhost`, as the upstream's own address.
pub fn may_be_at(address: IpAddr, is_written: bool, allowed: &[Network]) -> bool {
    match reach(address) {
        Reach::Public => true,
        Reach::Loopback | Reach::Private if is_written => true,
        Reach::Loopback
        | Reach::Private
        | Reach::LinkLocal
        | Reach::Special
        | Reach::Translated => allowed.iter().any(|network| network.contains(address)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    use Reach::{LinkLocal, Loopback, Private, Public, Special, Translated};

    const ENDS: [(&str, Reach); 70] = [
        ("1.1.1.1", Public),
        ("0.0.0.0", Special),
        ("0.255.255.255", Special),
        ("1.0.0.0", Public),
        ("9.255.255.255", Public),
        ("10.0.0.0", Private),
        ("10.255.255.255", Private),
        ("11.0.0.0", Public),
        ("100.63.255.255", Public),
        ("100.64.0.0", Private),
        ("100.127.255.255", Private),
        ("100.128.0.0", Public),
        ("126.255.255.255", Public),
        ("127.0.0.1", Loopback),
        ("127.255.255.255", Loopback),
        ("128.0.0.0", Public),
        ("168.63.129.16", LinkLocal),
        ("168.63.129.17", Public),
        ("169.253.255.255", Public),
        ("169.254.169.254", LinkLocal),
        ("169.255.0.0", Public),
        ("172.15.255.255", Public),
        ("172.16.0.0", Private),
        ("172.31.255.255", Private),
        ("172.32.0.0", Public),
        ("192.0.0.8", Special),
        ("192.0.1.0", Public),
        ("192.0.2.1", Special),
        ("192.88.99.1", Special),
        ("192.167.255.255", Public),
        ("192.168.0.0", Private),
        ("192.169.0.0", Public),
        ("198.17.255.255", Public),
        ("198.18.0.0", Special),
        ("198.19.255.255", Special),
        ("198.20.0.0", Public),
        ("198.51.100.1", Special),
        ("203.0.113.1", Special),
        ("223.255.255.255", Public),
        ("224.0.0.1", Special),
        ("239.255.255.255", Special),
        ("240.0.0.0", Special),
        ("255.255.255.255", Special),
        ("::", Special),
        ("::1", Loopback),
        ("::2", Translated),
        ("::127.0.0.1", Translated),
        ("::ffff:127.0.0.1", Translated),
        ("::ffff:1.1.1.1", Translated),
        ("::ffff:0:10.0.0.1", Translated),
        ("64:ff9b::7f00:1", Translated),
        ("64:ff9b:1::1", Translated),
        ("100::1", Special),
        ("2001::1", Translated),
        ("2001:20::1", Special),
        ("2001:4860:4860::8888", Public),
        ("2001:db8::1", Special),
        ("2002:7f00:1::", Translated),
        ("2606:4700::1111", Public),
        ("3fff::1", Special),
        ("4000::1", Special),
        ("5f00::1", Special),
        ("fbff::1", Special),
        ("fc00::1", Private),
        ("fdff:ffff::1", Private),
        ("fe00::1", Special),
        ("fe80::1", LinkLocal),
        ("febf::1", LinkLocal),
        ("fec0::1", Private),
        ("ff02::1", Special),
    ];

    #[test]
    fn every_range_ends_where_it_should() {
        for (address, expected) in ENDS {
            assert_eq!(reach(at(address)), expected, "{address}");
        }
    }

    #[test]
    fn what_is_written_or_listed_is_allowed_and_nothing_else() {
        let listed = |text: &str| vec![Network::parse(text).unwrap()];
        for (address, is_written, allowed, expected) in [
            ("8.8.8.8", false, vec![], true),
            ("127.0.0.1", true, vec![], true),
            ("127.0.0.1", false, vec![], false),
            ("127.0.0.1", false, listed("127.0.0.0/8"), true),
            ("10.1.2.3", true, vec![], true),
            ("10.1.2.3", false, listed("10.1.0.0/16"), true),
            ("10.2.2.3", false, listed("10.1.0.0/16"), false),
            ("169.254.169.254", true, vec![], false),
            ("169.254.169.254", true, listed("169.254.169.254"), true),
            ("fe80::1", true, listed("fe80::/10"), true),
            ("0.0.0.0", true, vec![], false),
            ("224.0.0.1", true, vec![], false),
            ("::ffff:127.0.0.1", true, vec![], false),
            ("::ffff:127.0.0.1", false, listed("127.0.0.0/8"), false),
            ("::ffff:127.0.0.1", false, listed("::ffff:0:0/96"), true),
        ] {
            assert_eq!(may_be_at(at(address), is_written, &allowed), expected, "{address}");
        }
    }

    #[test]
    fn networks_are_read_strictly() {
        for text in ["10.0.0.0/8", "10.0.0.1", "0.0.0.0/0", "::/0", "fc00::/7", "1.2.3.4/32"] {
            assert!(Network::parse(text).is_some(), "{text}");
        }
        for text in [
            "",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.1/8",
            "10.0.0.0/+8",
            "::/129",
            "a/8",
            "fc00::1/7",
        ] {
            assert!(Network::parse(text).is_none(), "{text}");
        }
        assert!(Network::parse("::/0").unwrap().contains(at("fe80::1")));
        assert!(!Network::parse("::/0").unwrap().contains(at("10.0.0.1")));
    }
}
