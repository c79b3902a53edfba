//! Both ends over a carrier that loses, doubles and reorders, and the layout of messages.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::{
    ClientEnd, ClientEvent, HostEnd, HostEvent, Message, MessageError, MessageType,
    flow::{Incoming, Outgoing, acknowledgement},
    host::closing,
    message::{HEADER_BYTES, payload_type},
    payload::{Size, Wishes},
};

const SESSION: &str = "ecs-execute-command-0123456789abcdef0";

fn message(sequence: i64, payload: &[u8]) -> Message {
    Message {
        kind: MessageType::InputStreamData,
        created_ms: 1,
        sequence,
        flags: 0,
        id: *b"0123456789abcdef",
        payload_type: payload_type::OUTPUT,
        payload: payload.to_vec(),
    }
}

#[test]
fn a_message_has_the_plugins_layout() {
    let bytes = message(7, b"ls\n").encode();
    assert_eq!(bytes.len(), HEADER_BYTES + 3);
    assert_eq!(bytes[..4], [0, 0, 0, 116]);
    assert_eq!(&bytes[4..36], b"input_stream_data               ");
    assert_eq!(bytes[36..40], [0, 0, 0, 1]);
    assert_eq!(bytes[48..56], [0, 0, 0, 0, 0, 0, 0, 7]);
    assert_eq!(&bytes[64..80], b"89abcdef01234567", "the halves of the id are swapped");
    assert_eq!(bytes[112..120], [0, 0, 0, 1, 0, 0, 0, 3]);
    assert_eq!(&bytes[120..], b"ls\n");
    assert_eq!(message(7, b"ls\n").id_text(), "30313233-3435-3637-3839-616263646566");
}

#[test]
fn what_is_no_message_is_told_from_it() {
    let good = message(0, b"x").encode();
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        Message::decode(&bytes)
    };
    assert_eq!(Message::decode(&good[..119]), Err(MessageError::Short));
    assert_eq!(with(3, 117), Err(MessageError::Layout));
    assert_eq!(with(39, 2), Err(MessageError::Layout));
    assert_eq!(with(4, b'x'), Err(MessageError::Type));
    assert_eq!(with(119, 2), Err(MessageError::Length));
    assert_eq!(with(120, b'y'), Err(MessageError::Digest));
    // Padding with NULs is taken too.
    let mut nul = good.clone();
    nul[21..36].fill(0);
    assert_eq!(Message::decode(&nul), Message::decode(&good));
}

proptest! {
    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Message::decode(&bytes);
    }

    #[test]
    fn a_damaged_message_never_panics_and_never_passes_for_another_payload(
        payload in proptest::collection::vec(any::<u8>(), 1..64), at in 0usize..180, flip in 1u8..
    ) {
        let mut bytes = message(3, &payload).encode();
        let at = at % bytes.len();
        bytes[at] ^= flip;
        if let Ok(read) = Message::decode(&bytes) {
            prop_assert_eq!(read.payload, payload);
        }
    }

    #[test]
    fn every_message_is_read_back(
        sequence in any::<i64>(), flags in any::<u64>(), kind in any::<u32>(), created_ms in any::<u64>(),
        id in any::<[u8; 16]>(), payload in proptest::collection::vec(any::<u8>(), 0..300)
    ) {
        let sent = Message {
            kind: MessageType::OutputStreamData, created_ms, sequence, flags, id, payload_type: kind, payload
        };
        prop_assert_eq!(Message::decode(&sent.encode()), Ok(sent));
    }

    #[test]
    fn whatever_the_carrier_does_the_bytes_arrive_whole_and_once(seed in any::<u64>()) {
        let mut world = World::new(seed, Wishes { terminal: true }, 30);
        let sent: Vec<u8> = (0..20_000u32).flat_map(|number| number.to_le_bytes()).collect();
        world.print(&sent);
        world.type_in(&sent);
        world.run();
        prop_assert_eq!(&world.printed, &sent);
        prop_assert_eq!(&world.typed, &sent);
    }
}

/// A small generator: the same numbers for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// Both ends, and what is between them.
struct World {
    host: HostEnd,
    client: ClientEnd,
    to_client: Vec<Vec<u8>>,
    to_host: Vec<Vec<u8>>,
    dice: Dice,
    /// Of a hundred frames, how many suffer.
    trouble: u64,
    now_ms: u64,
    to_print: Vec<u8>,
    to_type: Vec<u8>,
    printed: Vec<u8>,
    typed: Vec<u8>,
    errors: Vec<u8>,
    host_events: Vec<HostEvent>,
    client_events: Vec<ClientEvent>,
    ready: bool,
}

impl World {
    fn new(seed: u64, wishes: Wishes, trouble: u64) -> Self {
        let mut host = HostEnd::new(SESSION, "ecs:c_t_r");
        let to_client = host.attach(1000);
        Self {
            host,
            client: ClientEnd::new(SESSION, wishes),
            to_client,
            to_host: Vec::new(),
            dice: Dice(seed | 1),
            trouble,
            now_ms: 1000,
            to_print: Vec::new(),
            to_type: Vec::new(),
            printed: Vec::new(),
            typed: Vec::new(),
            errors: Vec::new(),
            host_events: Vec::new(),
            client_events: Vec::new(),
            ready: false,
        }
    }

    fn print(&mut self, bytes: &[u8]) {
        self.to_print.extend_from_slice(bytes);
    }

    fn type_in(&mut self, bytes: &[u8]) {
        self.to_type.extend_from_slice(bytes);
    }

    /// Some of the frames, in whatever order, some twice, some never.
    fn carry(&mut self, frames: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        let mut carried: Vec<Vec<u8>> = Vec::new();
        for frame in frames {
            if self.dice.roll(100) >= self.trouble {
                carried.push(frame);
                continue;
            }
            match self.dice.roll(3) {
                0 => {}
                1 => carried.extend([frame.clone(), frame]),
                _ => carried.insert(self.dice.roll(carried.len() as u64 + 1) as usize, frame),
            }
        }
        carried
    }

    fn step(&mut self) {
        self.now_ms += 20;
        let frames = std::mem::take(&mut self.to_client);
        for frame in self.carry(frames) {
            let (answers, events) = self.client.receive(&frame, self.now_ms);
            self.to_host.extend(answers);
            for event in events {
                match event {
                    ClientEvent::Output(bytes) => self.printed.extend(bytes),
                    ClientEvent::Error(bytes) => self.errors.extend(bytes),
                    ClientEvent::Ready => self.ready = true,
                    other => self.client_events.push(other),
                }
            }
        }
        let frames = std::mem::take(&mut self.to_host);
        for frame in self.carry(frames) {
            let step = self.host.receive(&frame, self.now_ms);
            self.to_client.extend(step.frames);
            for event in step.events {
                match event {
                    HostEvent::Input(bytes) => self.typed.extend(bytes),
                    other => self.host_events.push(other),
                }
            }
        }
        while self.host.has_room() && !self.to_print.is_empty() {
            let rest = self.to_print.split_off(self.to_print.len().min(self.host.chunk_bytes()));
            let part = std::mem::replace(&mut self.to_print, rest);
            self.to_client.extend(self.host.output(payload_type::OUTPUT, &part, self.now_ms));
        }
        while self.ready && self.client.has_room() && !self.to_type.is_empty() {
            let rest = self.to_type.split_off(self.to_type.len().min(1000));
            let part = std::mem::replace(&mut self.to_type, rest);
            self.to_host.extend(self.client.input(&part, self.now_ms));
        }
        self.to_client.extend(self.host.due(self.now_ms));
        self.to_host.extend(self.client.due(self.now_ms));
    }

    fn is_quiet(&self) -> bool {
        let nothing_left = self.to_print.is_empty() && self.to_type.is_empty() && self.ready;
        nothing_left && self.host.is_drained() && self.client.is_drained()
    }

    fn run(&mut self) {
        for _ in 0..20_000 {
            if self.is_quiet() {
                return;
            }
            self.step();
        }
        panic!("the ends did not come to rest");
    }
}

#[test]
fn a_hundred_megabytes_arrive_whole() {
    let mut world = World::new(1, Wishes { terminal: true }, 0);
    let block: Vec<u8> = (0..1_000_000u32).map(|number| (number % 251) as u8).collect();
    for _ in 0..100 {
        world.printed.clear();
        world.print(&block);
        world.run();
        assert!(world.printed == block);
    }
}

#[test]
fn a_lost_connection_costs_nothing() {
    let mut world = World::new(1, Wishes { terminal: true }, 0);
    world.run();
    world.print(&[b'a'; 100_000]);
    world.type_in(&[b'b'; 10_000]);
    for _ in 0..50 {
        world.step();
        // Everything under way is lost, and both ends say it again over the next connection.
        world.to_client.clear();
        world.to_host.clear();
        world.host.detach();
        assert_eq!(world.host.due(u64::MAX), None, "nobody is there to be told again");
        let again = world.host.attach(world.now_ms);
        world.to_client.extend(again);
        let again = world.client.again(world.now_ms);
        world.to_host.extend(again);
        world.step();
    }
    world.run();
    assert_eq!((world.printed.len(), world.typed.len()), (100_000, 10_000));
}

#[test]
fn the_handshake_begins_the_process_once_and_tells_what_the_client_wants() {
    let mut world = World::new(5, Wishes { terminal: false }, 60);
    world.run();
    assert_eq!(world.host_events, [HostEvent::Begin { terminal: false }]);
    let resized = world.client.resize(Size { cols: 80, rows: 24 }, world.now_ms);
    let ended = world.client.end_of_input(world.now_ms);
    let terminated = world.client.terminate(world.now_ms);
    // The last first: order is the numbers' business.
    world.to_host.extend([terminated, ended, resized]);
    world.run();
    let expected = [HostEvent::Resize(Size { cols: 80, rows: 24 }), HostEvent::EndOfInput, HostEvent::Terminate];
    assert_eq!(world.host_events[1..], expected);
}

#[test]
fn the_exit_code_comes_after_all_output_and_only_to_whom_it_is_for() {
    let mut world = World::new(9, Wishes { terminal: false }, 20);
    world.run();
    let now = world.now_ms;
    world.to_client.extend(world.host.output(payload_type::STDERR, b"oh", now));
    world.to_client.extend(world.host.exit_code(3, now));
    world.run();
    world.to_client.push(world.host.close("", now));
    world.trouble = 0;
    world.step();
    assert_eq!(world.errors, b"oh");
    assert_eq!(world.client_events, [ClientEvent::ExitCode(3), ClientEvent::Closed(String::new())]);

    let mut plugin = HostEnd::new(SESSION, "t");
    plugin.attach(1);
    let response = Message {
        payload_type: payload_type::HANDSHAKE_RESPONSE,
        payload: br#"{"ClientVersion":"1.2.0.0","ProcessedClientActions":[],"Errors":null}"#.to_vec(),
        ..message(0, b"")
    };
    assert_eq!(plugin.receive(&response.encode(), 2).events, [HostEvent::Begin { terminal: true }]);
    assert_eq!(plugin.exit_code(3, 3), None, "the plugin would print it");
    let frames = plugin.output(payload_type::STDERR, &[b'x'; 1025], 3);
    let read: Vec<Message> = frames.iter().map(|frame| Message::decode(frame).unwrap()).collect();
    let shape: Vec<(u32, usize)> = read.iter().map(|message| (message.payload_type, message.payload.len())).collect();
    assert_eq!(shape, [(payload_type::OUTPUT, 1024), (payload_type::OUTPUT, 1)]);
}

#[test]
fn what_is_printed_before_the_clients_shell_is_ready_is_said_again() {
    // The plugin drops the first output without a word, takes the next ones out of order, and prints nothing until the
    // first comes again.
    let mut outgoing = Outgoing::new(MessageType::OutputStreamData, SESSION);
    let first = outgoing.send(payload_type::OUTPUT, b"prompt".to_vec(), 0);
    for number in 1..5 {
        let frame = outgoing.send(payload_type::OUTPUT, vec![number], 0);
        let taken = acknowledgement(&Message::decode(&frame).unwrap(), 1);
        assert!(outgoing.acknowledge(&Message::decode(&taken).unwrap()));
    }
    assert_eq!(outgoing.due(199), None);
    assert_eq!(outgoing.due(200), Some(first));
    assert_eq!(outgoing.due(200), None);
}

#[test]
fn a_message_whose_acknowledgement_was_lost_is_not_sent_for_ever() {
    let mut outgoing = Outgoing::new(MessageType::OutputStreamData, SESSION);
    outgoing.send(payload_type::OUTPUT, b"x".to_vec(), 0);
    let resent = |outgoing: &mut Outgoing| (1..=1000).filter(|second| outgoing.due(second * 1000).is_some()).count();
    assert_eq!(resent(&mut outgoing), 1000, "whoever takes nothing at all may be slow");
    let mut outgoing = Outgoing::new(MessageType::OutputStreamData, SESSION);
    outgoing.send(payload_type::OUTPUT, b"x".to_vec(), 0);
    let later = outgoing.send(payload_type::OUTPUT, b"y".to_vec(), 0);
    let taken = acknowledgement(&Message::decode(&later).unwrap(), 1);
    outgoing.acknowledge(&Message::decode(&taken).unwrap());
    assert_eq!(resent(&mut outgoing), 10);
    assert!(outgoing.is_empty());
}

#[test]
fn a_sender_that_nobody_reads_holds_a_bounded_amount() {
    let mut host = HostEnd::new(SESSION, "t");
    assert!(!host.has_room(), "nothing is printed before the handshake");
    let mut outgoing = Outgoing::new(MessageType::OutputStreamData, SESSION);
    let mut messages = 0;
    while outgoing.has_room() {
        outgoing.send(payload_type::OUTPUT, vec![0; 1024], 0);
        messages += 1;
    }
    assert_eq!(messages, 512);
    host.detach();

    let mut incoming = Incoming::default();
    let taken = (1..100_000).filter(|number| incoming.receive(message(*number, &[0; 1024])).is_some()).count();
    assert_eq!(taken, 1024, "what comes too early is kept up to a bound");
}

#[test]
fn input_that_cannot_be_taken_stays_with_the_client() {
    let mut host = HostEnd::new(SESSION, "t");
    host.attach(1);
    host.take_input(false);
    assert_eq!(host.receive(&message(0, b"x").encode(), 1).frames, Vec::<Vec<u8>>::new());
    host.take_input(true);
    let step = host.receive(&message(0, b"x").encode(), 1);
    assert_eq!((step.frames.len(), step.events), (1, vec![HostEvent::Input(b"x".to_vec())]));
    let repeated = host.receive(&message(0, b"x").encode(), 1);
    assert_eq!((repeated.frames.len(), repeated.events), (1, Vec::new()), "acknowledged again, done once");
}

#[test]
fn the_closing_message_says_what_the_plugin_prints() {
    let read = Message::decode(&closing(SESSION, "ecs:c_t_r", "bye", 12)).unwrap();
    assert_eq!(read.kind, MessageType::ChannelClosed);
    let value: serde_json::Value = serde_json::from_slice(&read.payload).unwrap();
    assert_eq!(
        value,
        serde_json::json!({
            "MessageType": "channel_closed", "MessageId": read.id_text(), "DestinationId": "ecs:c_t_r",
            "SessionId": SESSION, "SchemaVersion": 1, "CreatedDate": "12", "Output": "bye",
        })
    );
}
