//! The expressions that our rules are made of.
//!
//! A rule is a list of them, run in order over sixteen-byte registers until one does not match. Numbers are those of
//! the kernel's `linux/netfilter/nf_tables.h`.

use super::super::netlink::Message;

#[derive(Debug, Clone, Copy)]
pub(super) enum Register {
    One = 1,
    /// The first two of the four words that register one consists of.
    Word0 = 8,
    Word1 = 9,
}

impl Register {
    const fn number(self) -> u32 {
        self as u32
    }
}

#[derive(Debug, Clone)]
enum Value {
    Number(u32),
    Text(&'static str),
    Data(Vec<u8>),
    Verdict(u32),
}

/// A kernel expression: its name and attributes.
#[derive(Debug, Clone)]
pub(super) struct Expression {
    name: &'static str,
    attributes: Vec<(u16, Value)>,
}

const META_INPUT_NAME: u32 = 6;
const META_OUTPUT_NAME: u32 = 7;
const META_LAYER4: u32 = 16;
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
const STATUS_DESTINATION_NAT: u32 = 1 << 5;

impl Expression {
    fn new(name: &'static str, attributes: Vec<(u16, Value)>) -> Self {
        Self { name, attributes }
    }

    /// `iifname`
    pub(super) fn input_name() -> Self {
        Self::meta(META_INPUT_NAME, Register::One)
    }

    /// `oifname`
    pub(super) fn output_name() -> Self {
        Self::meta(META_OUTPUT_NAME, Register::One)
    }

    /// `meta l4proto`, the first word of a map's key.
    pub(super) fn layer4_protocol() -> Self {
        Self::meta(META_LAYER4, Register::Word0)
    }

    /// `th dport`, the second.
    pub(super) fn destination_port() -> Self {
        Self::payload(TRANSPORT_HEADER, 2, 2, Register::Word1)
    }

    /// The first byte of the destination address.
    pub(super) fn destination_network() -> Self {
        Self::payload(NETWORK_HEADER, 16, 1, Register::One)
    }

    /// `ip daddr`
    pub(super) fn destination_address() -> Self {
        Self::payload(NETWORK_HEADER, 16, 4, Register::One)
    }

    /// `ip saddr`
    pub(super) fn source_address() -> Self {
        Self::payload(NETWORK_HEADER, 12, 4, Register::One)
    }

    /// Puts a value into a register.
    pub(super) fn load(register: Register, value: &[u8]) -> Self {
        Self::new("immediate", vec![(1, Value::Number(register.number())), (2, Value::Data(value.to_vec()))])
    }

    /// `fib daddr type`
    pub(super) fn destination_is_local() -> Self {
        const ADDRESS_TYPE: u32 = 3;
        const OF_DESTINATION: u32 = 2;
        Self::new(
            "fib",
            vec![
                (1, Value::Number(Register::One.number())),
                (2, Value::Number(ADDRESS_TYPE)),
                (3, Value::Number(OF_DESTINATION)),
            ],
        )
    }

    /// `ct status`
    pub(super) fn connection_status() -> Self {
        const STATUS: u32 = 2;
        Self::new("ct", vec![(1, Value::Number(Register::One.number())), (2, Value::Number(STATUS))])
    }

    /// `& dnat`
    pub(super) fn only_destination_nat() -> Self {
        Self::masked(STATUS_DESTINATION_NAT.to_ne_bytes())
    }

    /// `& mask`
    pub(super) fn masked(mask: [u8; 4]) -> Self {
        let one = Register::One.number();
        Self::new(
            "bitwise",
            vec![
                (1, Value::Number(one)),
                (2, Value::Number(one)),
                (3, Value::Number(4)),
                (4, Value::Data(mask.to_vec())),
                (5, Value::Data(0u32.to_ne_bytes().to_vec())),
            ],
        )
    }

    pub(super) fn is(register: Register, value: &[u8]) -> Self {
        Self::compare(register, 0, value)
    }

    pub(super) fn is_not(register: Register, value: &[u8]) -> Self {
        Self::compare(register, 1, value)
    }

    pub(super) fn in_set(set: &'static str) -> Self {
        Self::new("lookup", vec![(1, Value::Text(set)), (2, Value::Number(Register::One.number()))])
    }

    pub(super) fn not_in_set(set: &'static str) -> Self {
        const INVERT: u32 = 1;
        let mut lookup = Self::in_set(set);
        lookup.attributes.push((5, Value::Number(INVERT)));
        lookup
    }

    /// Replaces the key in register one by its value: an address in the first word, a port in the second.
    pub(super) fn map(map: &'static str) -> Self {
        let mut lookup = Self::in_set(map);
        lookup.attributes.push((3, Value::Number(Register::One.number())));
        lookup
    }

    /// `dnat ip to` what [`Expression::map`] found or [`Expression::load`] put there.
    pub(super) fn destination_nat() -> Self {
        const DESTINATION: u32 = 1;
        const FAMILY_IP: u32 = 2;
        Self::new(
            "nat",
            vec![
                (1, Value::Number(DESTINATION)),
                (2, Value::Number(FAMILY_IP)),
                (3, Value::Number(Register::Word0.number())),
                (5, Value::Number(Register::Word1.number())),
            ],
        )
    }

    pub(super) fn masquerade() -> Self {
        Self::new("masq", vec![])
    }

    pub(super) fn drop() -> Self {
        Self::new("immediate", vec![(1, Value::Number(0)), (2, Value::Verdict(0))])
    }

    pub(super) fn accept() -> Self {
        Self::new("immediate", vec![(1, Value::Number(0)), (2, Value::Verdict(1))])
    }

    fn meta(key: u32, register: Register) -> Self {
        Self::new("meta", vec![(1, Value::Number(register.number())), (2, Value::Number(key))])
    }

    fn payload(base: u32, offset: u32, length: u32, register: Register) -> Self {
        Self::new(
            "payload",
            vec![
                (1, Value::Number(register.number())),
                (2, Value::Number(base)),
                (3, Value::Number(offset)),
                (4, Value::Number(length)),
            ],
        )
    }

    fn compare(register: Register, operation: u32, value: &[u8]) -> Self {
        Self::new(
            "cmp",
            vec![
                (1, Value::Number(register.number())),
                (2, Value::Number(operation)),
                (3, Value::Data(value.to_vec())),
            ],
        )
    }

    pub(super) fn write(self, message: Message) -> Message {
        message.string(1, self.name).nest(2, |message| {
            self.attributes.into_iter().fold(message, |message, (kind, value)| match value {
                Value::Number(number) => message.be32(kind, number),
                Value::Text(text) => message.string(kind, text),
                Value::Data(data) => message.nest(kind, |m| m.attribute(1, &data)),
                Value::Verdict(code) => message.nest(kind, |m| m.nest(2, |m| m.be32(1, code))),
            })
        })
    }
}
