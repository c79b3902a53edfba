//! Where ids and seeds come from. A seeded source makes a whole simulated run repeatable; the machine's own source is
//! what a server uses.

use std::sync::Arc;

use gantry_domain::arn::uuid_text;
use parking_lot::Mutex;

/// A source of random numbers; clones share it.
#[derive(Debug, Clone)]
pub struct Random(Arc<Source>);

#[derive(Debug)]
enum Source {
    System,
    /// The state of a SplitMix64 generator.
    Seeded(Mutex<u64>),
}

impl Random {
    /// The machine's random numbers.
    pub fn system() -> Self {
        Self(Arc::new(Source::System))
    }

    /// The same numbers for the same seed.
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Source::Seeded(Mutex::new(seed))))
    }

    /// 64 random bits.
    pub fn bits(&self) -> u64 {
        match &*self.0 {
            // The kernel gives random numbers from early boot on; without them no id and no key can be made at all.
            Source::System => getrandom::u64().expect("the kernel has random numbers"),
            Source::Seeded(state) => {
                let mut state = state.lock();
                *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut bits = *state;
                bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                bits ^ (bits >> 31)
            }
        }
    }

    /// 128 random bits: what a task's or an instance's id is made of.
    pub fn id(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.bits().to_be_bytes());
        bytes[8..].copy_from_slice(&self.bits().to_be_bytes());
        bytes
    }

    /// The text of a new UUID.
    pub fn uuid(&self) -> String {
        uuid_text(self.id())
    }
}

impl Default for Random {
    fn default() -> Self {
        Self::system()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_ids_again() {
        let ids = |seed| {
            let random = Random::seeded(seed);
            [random.uuid(), random.uuid(), random.uuid()]
        };
        assert_eq!(ids(7), ids(7));
        assert_ne!(ids(7), ids(8));
        let random = Random::seeded(7);
        assert_ne!(random.id(), random.id());
        assert_ne!(Random::system().id(), Random::system().id());
    }
}
