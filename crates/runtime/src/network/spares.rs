//! Network namespaces made before anybody asks for one.
//!
//! What is the same for every container (the namespace itself, its settings, its loopback interface, the way to its
//! endpoint) takes most of the time that a start has; it is done ahead, for a few, when nobody is starting anything. A
//! spare is held by nothing but a descriptor of this process: when the process ends, however it does, its spares are
//! gone.

use std::{
    io,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::{link, namespace::Namespace};

/// Enough for the containers of most tasks; a spare holds about 100 KB of the kernel's memory.
const SPARES_MAX: usize = 4;
/// Spares are made when none was taken for this long: the start that took it comes first.
const IDLE_TIME: Duration = Duration::from_millis(5);

/// A few namespaces with a loopback interface that is up, the way to the endpoint, and nothing else.
pub(super) struct Spares(Arc<Mutex<State>>);

struct State {
    namespaces: Vec<Namespace>,
    taken_at: Instant,
    /// There is a thread that makes spares.
    refilling: bool,
}

impl Spares {
    /// Begins to make them.
    pub(super) fn new() -> Self {
        let spares =
            Self(Arc::new(Mutex::new(State { namespaces: Vec::new(), taken_at: Instant::now(), refilling: false })));
        spares.refill();
        spares
    }

    /// A spare, or a new one when there is none.
    pub(super) fn take(&self) -> io::Result<Namespace> {
        let spare = {
            let mut state = self.0.lock();
            state.taken_at = Instant::now();
            state.namespaces.pop()
        };
        self.refill();
        spare.map_or_else(make, Ok)
    }

    fn refill(&self) {
        let mut state = self.0.lock();
        if state.refilling {
            return;
        }
        let shared = Arc::downgrade(&self.0);
        let thread = std::thread::Builder::new().name("netns-spares".to_owned()).stack_size(128 << 10);
        // Without the thread there are no spares, and nothing else is wrong.
        state.refilling = thread.spawn(move || refill(&shared)).is_ok();
    }
}

fn make() -> io::Result<Namespace> {
    let mut namespace = Namespace::create()?;
    link::loopback_up(&mut namespace.netlink, None)?;
    Ok(namespace)
}

/// Makes spares until there are enough, or nobody is left to take them.
fn refill(shared: &Weak<Mutex<State>>) {
    loop {
        std::thread::sleep(IDLE_TIME);
        let Some(shared) = shared.upgrade() else { return };
        {
            let mut state = shared.lock();
            if state.namespaces.len() >= SPARES_MAX {
                state.refilling = false;
                return;
            }
            if state.taken_at.elapsed() < IDLE_TIME {
                continue;
            }
        }
        let made = make();
        let mut state = shared.lock();
        match made {
            Ok(namespace) => state.namespaces.push(namespace),
            // Whoever asks next tries again, and is told why it does not work.
            Err(_) => {
                state.refilling = false;
                return;
            }
        }
    }
}
