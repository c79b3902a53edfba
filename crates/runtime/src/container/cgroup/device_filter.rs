//! Device rules for cgroup version 2: the kernel asks a BPF program, which we write here, instruction by instruction.
//!
//! The program gets a `bpf_cgroup_dev_ctx { access_type: u32, major: u32, minor: u32 }` in r1, where the low half of
//! `access_type` is the kind (1 block, 2 character) and the high half the wanted access (1 mknod, 2 read, 4 write). It
//! returns 1 to allow. Rules are tried in order; what none allows is denied.

use super::super::spec::devices::{DeviceKind, DeviceRule};

// Opcodes: class | operation | source, as in linux/bpf.h.
const LOAD_WORD: u8 = 0x61;
const MOVE_REGISTER: u8 = 0xbc;
const MOVE_IMMEDIATE: u8 = 0xb7;
const AND_IMMEDIATE: u8 = 0x54;
const SHIFT_RIGHT_IMMEDIATE: u8 = 0x74;
const JUMP_NOT_EQUAL_IMMEDIATE: u8 = 0x55;
const EXIT: u8 = 0x95;

const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 1;

/// One instruction as the kernel reads it.
fn instruction(opcode: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> u64 {
    let registers = (source << 4) | destination;
    let [low, high] = offset.to_ne_bytes();
    let [a, b, c, d] = immediate.to_ne_bytes();
    u64::from_ne_bytes([opcode, registers, low, high, a, b, c, d])
}

/// The program for these rules.
pub(super) fn program(rules: &[DeviceRule]) -> Vec<u64> {
    let mut program = vec![
        instruction(LOAD_WORD, KIND, 1, 0, 0),
        instruction(MOVE_REGISTER, ACCESS, KIND, 0, 0),
        instruction(AND_IMMEDIATE, KIND, 0, 0, 0xffff),
        instruction(SHIFT_RIGHT_IMMEDIATE, ACCESS, 0, 0, 16),
        instruction(LOAD_WORD, MAJOR, 1, 4, 0),
        instruction(LOAD_WORD, MINOR, 1, 8, 0),
    ];
    for rule in rules {
        program.extend(rule_block(rule));
    }
    program.extend([instruction(MOVE_IMMEDIATE, 0, 0, 0, 0), instruction(EXIT, 0, 0, 0, 0)]);
    program
}

/// Falls through to the next rule unless everything matches.
fn rule_block(rule: &DeviceRule) -> Vec<u64> {
    let kind = match rule.kind {
        DeviceKind::Block => 1,
        DeviceKind::Char => 2,
    };
    let mut checks: Vec<(u8, Vec<u64>, i32)> = vec![(KIND, Vec::new(), kind)];
    let forbidden = 7 & !access_mask(&rule.access);
    if forbidden != 0 {
        // Wants something that this rule does not give?
        let masked = vec![
            instruction(MOVE_REGISTER, SCRATCH, ACCESS, 0, 0),
            instruction(AND_IMMEDIATE, SCRATCH, 0, 0, forbidden),
        ];
        checks.push((SCRATCH, masked, 0));
    }
    for (register, number) in [(MAJOR, rule.major), (MINOR, rule.minor)] {
        // Numbers have 12 and 20 bits.
        checks
            .extend(number.and_then(|number| i32::try_from(number).ok()).map(|number| (register, Vec::new(), number)));
    }
    let allow = [instruction(MOVE_IMMEDIATE, 0, 0, 0, 1), instruction(EXIT, 0, 0, 0, 0)];
    let length: usize = checks.iter().map(|(_, before, _)| before.len() + 1).sum::<usize>() + allow.len();
    let mut block = Vec::with_capacity(length);
    for (register, before, expected) in checks {
        block.extend(before);
        let to_end = i16::try_from(length - block.len() - 1).unwrap_or(i16::MAX);
        block.push(instruction(JUMP_NOT_EQUAL_IMMEDIATE, register, 0, to_end, expected));
    }
    block.extend(allow);
    block
}

fn access_mask(access: &str) -> i32 {
    access.chars().fold(0, |mask, letter| {
        mask | match letter {
            'm' => 1,
            'r' => 2,
            'w' => 4,
            _ => 0,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::spec::devices;

    /// Runs the few instructions that we emit, as the kernel would.
    fn allowed(program: &[u64], kind: u32, access: u32, major: u32, minor: u32) -> bool {
        let context = [kind | access << 16, major, minor];
        let mut registers = [0_u64; 11];
        let mut at = 0_usize;
        loop {
            let bytes = program[at].to_ne_bytes();
            let (destination, source) = (usize::from(bytes[1] & 15), usize::from(bytes[1] >> 4));
            let offset = i16::from_ne_bytes([bytes[2], bytes[3]]);
            let immediate = i32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]) as u64;
            at += 1;
            match bytes[0] {
                LOAD_WORD => registers[destination] = u64::from(context[offset as usize / 4]),
                MOVE_REGISTER => registers[destination] = registers[source] & 0xffff_ffff,
                MOVE_IMMEDIATE => registers[destination] = immediate,
                AND_IMMEDIATE => registers[destination] = registers[destination] & immediate & 0xffff_ffff,
                SHIFT_RIGHT_IMMEDIATE => registers[destination] >>= immediate,
                JUMP_NOT_EQUAL_IMMEDIATE if registers[destination] != immediate => at += offset as usize,
                JUMP_NOT_EQUAL_IMMEDIATE => {}
                EXIT => return registers[0] == 1,
                other => panic!("opcode {other:#x}"),
            }
        }
    }

    #[test]
    fn the_default_rules() {
        let program = program(&devices::rules(false, &[]).unwrap_or_default());
        let (block, char) = (1, 2);
        let (mknod, read, write) = (1, 2, 4);
        for (kind, access, major, minor, expected) in [
            (char, read, 1, 3, true),
            (char, read | write, 5, 2, true),
            (char, write, 136, 77, true),
            (char, mknod, 10, 200, true),
            (char, read, 10, 200, false),
            (char, mknod | read, 10, 200, false),
            (block, mknod, 8, 0, true),
            (block, read, 8, 0, false),
            (block, read, 1, 3, false),
            (char, read, 1, 4, false),
        ] {
            assert_eq!(allowed(&program, kind, access, major, minor), expected, "{kind} {access} {major}:{minor}");
        }
    }

    #[test]
    fn the_registers_that_are_read_first_are_loaded_before_r1_is_reused() {
        let program = program(&[]);
        assert_eq!(program.len(), 8);
        assert!(!allowed(&program, 2, 2, 1, 3));
    }
}
