//! What chance decides.

use gantry_control::Random;

pub(crate) struct Dice(Random);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Random::seeded(seed))
    }

    pub(crate) fn below(&self, bound: u64) -> u64 {
        self.0.bits() % bound
    }

    pub(crate) fn of<'a>(&self, choices: &[&'a str]) -> &'a str {
        choices[usize::try_from(self.below(choices.len() as u64)).unwrap()]
    }

    /// How long the world goes on before the next command: often not at all.
    pub(crate) fn pause(&self) -> String {
        match self.below(10) {
            0..4 => "run 0ms".to_owned(),
            4..8 => format!("run {}ms", 100 * (1 + self.below(30))),
            _ => format!("run {}s", 1 + self.below(60)),
        }
    }

    /// Something that happens to hosts, to the control plane, or to a task.
    pub(crate) fn accident(&self) -> Vec<String> {
        let instance = self.of(&["i1", "i2", "i3"]);
        let command = match self.below(10) {
            0 => format!("kill {instance}"),
            1 | 2 => format!("return {instance}"),
            3 => format!("reboot {instance}"),
            4 => format!("drain {instance}"),
            5 | 6 => format!("activate {instance}"),
            7 => "restart control".into(),
            8 => format!("crash after {}", 1 + self.below(6)),
            _ => format!("stop any {}", self.below(8)),
        };
        vec![command]
    }
}
