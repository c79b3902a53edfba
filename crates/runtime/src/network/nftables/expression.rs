//! The expressions that our rules are made of.
//!
//! A rule is a list of them, run in order over sixteen-byte registers until one does not match. Numbers are those of
//! the kernel's `linux/netfilter/nf_tables.h`.

use gantry_domain::address_block::AddressBlock;

use super::super::netlink::Message;

#[derive(Debug, Clone, Copy)]
pub(super) enum Register {
    One = 1,
    /// The first two of the four words that register one consists of.
    Word0 = 8,
    Word1 = 9,
    Word2 = 10,
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
    Goto(&'static str),
}

/// A kernel expression: its name and attributes.
#[derive(Debug, Clone)]
pub(super) struct Expression {
    name: &'static str,
    attributes: Vec<(u16, Value)>,
}

const META_PROTOCOL: u32 = 1;
const META_PRIORITY: u32 = 2;
const META_INPUT_NAME: u32 = 6;
const META_OUTPUT_NAME: u32 = 7;
const META_SOCKET_USER: u32 = 10;
const META_SOCKET_GROUP: u32 = 11;
const META_LAYER4: u32 = 16;
const LINK_HEADER: u32 = 0;
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
const GOTO: i32 = -4;
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

    /// `meta protocol`: which protocol is inside of a frame, two bytes.
    pub(super) fn protocol() -> Self {
        Self::meta(META_PROTOCOL, Register::One)
    }

    /// `meta skuid`: whose socket a packet of this host's own is of.
    pub(super) fn socket_user() -> Self {
        Self::meta(META_SOCKET_USER, Register::One)
    }

    /// `meta skgid`
    pub(super) fn socket_group() -> Self {
        Self::meta(META_SOCKET_GROUP, Register::One)
    }

    /// `jhash ip saddr . ip daddr . th sport . th dport mod MODULUS`, the same for all packets of a flow one way. What
    /// has no ports has other things there.
    pub(super) fn flow(modulus: u32) -> [Self; 3] {
        const SOURCE_AND_DESTINATION: u32 = 8;
        const PORTS: u32 = 4;
        let one = Value::Number(Register::One.number());
        let length = Value::Number(SOURCE_AND_DESTINATION + PORTS);
        let hash = vec![(1, one.clone()), (2, one), (3, length), (4, Value::Number(modulus))];
        [
            Self::payload(NETWORK_HEADER, 12, SOURCE_AND_DESTINATION, Register::One),
            Self::payload(TRANSPORT_HEADER, 0, PORTS, Register::Word2),
            Self::new("hash", hash),
        ]
    }

    /// `numgen random mod MODULUS`
    pub(super) fn random(modulus: u32) -> Self {
        const RANDOM: u32 = 1;
        let register = Value::Number(Register::One.number());
        Self::new("numgen", vec![(1, register), (2, Value::Number(modulus)), (3, Value::Number(RANDOM))])
    }

    /// `< LIMIT`: the kernel compares bytes, so the highest has to come first.
    pub(super) fn is_below(limit: u32) -> [Self; 2] {
        const TO_NETWORK: u32 = 1;
        const WORD: u32 = 4;
        let one = Register::One.number();
        let attributes = [(1, one), (2, one), (3, TO_NETWORK), (4, WORD), (5, WORD)];
        [
            Self::new("byteorder", attributes.map(|(kind, number)| (kind, Value::Number(number))).to_vec()),
            Self::compare(Register::One, 2, &limit.to_be_bytes()),
        ]
    }

    /// `meta priority set CLASS`: which class of its queue a packet is of.
    pub(super) fn set_class(class: u32) -> [Self; 2] {
        const SOURCE: u16 = 3;
        let one = Value::Number(Register::One.number());
        let set = Self::new("meta", vec![(2, Value::Number(META_PRIORITY)), (SOURCE, one)]);
        [Self::load(Register::One, &class.to_ne_bytes()), set]
    }

    /// `ether daddr set ADDRESS`
    pub(super) fn set_hardware_destination(address: [u8; 6]) -> [Self; 2] {
        const SOURCE: u16 = 5;
        const NO_CHECKSUM: u32 = 0;
        let attributes = [(SOURCE, Register::One.number()), (2, LINK_HEADER), (3, 0), (4, 6), (6, NO_CHECKSUM)];
        let write = attributes.map(|(kind, number)| (kind, Value::Number(number))).to_vec();
        [Self::load(Register::One, &address), Self::new("payload", write)]
    }

    /// Puts a value into a register.
    pub(super) fn load(register: Register, value: &[u8]) -> Self {
        Self::new("immediate", vec![(1, Value::Number(register.number())), (2, Value::Data(value.to_vec()))])
    }

    /// `fib daddr type`
    pub(super) fn destination_is_local() -> Self {
        const OF_DESTINATION: u32 = 2;
        Self::address_type(OF_DESTINATION)
    }

    /// `fib saddr type`
    pub(super) fn source_is_local() -> Self {
        const OF_SOURCE: u32 = 1;
        Self::address_type(OF_SOURCE)
    }

    fn address_type(flags: u32) -> Self {
        const ADDRESS_TYPE: u32 = 3;
        Self::new(
            "fib",
            vec![
                (1, Value::Number(Register::One.number())),
                (2, Value::Number(ADDRESS_TYPE)),
                (3, Value::Number(flags)),
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

    /// `BLOCK`, of the address in register one.
    pub(super) fn is_in(block: AddressBlock) -> [Self; 2] {
        [Self::masked(block.mask().octets()), Self::is(Register::One, &block.network().octets())]
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

    /// `redirect to :PORT`
    pub(super) fn redirect(port: u16) -> [Self; 2] {
        let one = Value::Number(Register::One.number());
        [Self::load(Register::One, &port.to_be_bytes()), Self::new("redir", vec![(1, one)])]
    }

    /// The rest is up to `chain`.
    pub(super) fn goto(chain: &'static str) -> Self {
        Self::new("immediate", vec![(1, Value::Number(0)), (2, Value::Goto(chain))])
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
                Value::Goto(chain) => {
                    message.nest(kind, |m| m.nest(2, |m| m.be32(1, GOTO.cast_unsigned()).string(2, chain)))
                }
            })
        })
    }
}
