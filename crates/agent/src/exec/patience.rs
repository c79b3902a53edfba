//! How long a session goes on without what it needs: bytes, a client, a control plane. Pure.

use gantry_api::exec::ExecSession;

/// How long a session waits for a client that is not there, the first one included.
pub(super) const CLIENT_AWAY_MS_MAX: u64 = 60_000;
/// How long it waits for a control plane that is away.
const CONTROL_PLANE_AWAY_MS_MAX: u64 = 300_000;

/// What a session has had, and since when it has not.
#[derive(Debug)]
pub(super) struct Patience {
    idle_ms_max: u64,
    /// The last byte in either direction.
    active_ms: u64,
    /// Since when no client is there, while the control plane is.
    client_away_ms: Option<u64>,
    /// Since when the control plane is not.
    control_plane_away_ms: Option<u64>,
}

impl Patience {
    /// A session that begins, without anybody yet.
    pub(super) fn new(session: &ExecSession, now_ms: u64) -> Self {
        Self {
            idle_ms_max: u64::from(session.idle_seconds_max) * 1000,
            active_ms: now_ms,
            client_away_ms: None,
            control_plane_away_ms: Some(now_ms),
        }
    }

    /// A byte went one way or the other.
    pub(super) fn active(&mut self, now_ms: u64) {
        self.active_ms = now_ms;
    }

    pub(super) fn control_plane_came(&mut self, now_ms: u64) {
        self.control_plane_away_ms = None;
        self.client_away_ms = Some(now_ms);
    }

    pub(super) fn control_plane_went(&mut self, now_ms: u64) {
        self.control_plane_away_ms = Some(now_ms);
        self.client_away_ms = None;
    }

    pub(super) fn client_came(&mut self) {
        self.client_away_ms = None;
    }

    pub(super) fn client_went(&mut self, now_ms: u64) {
        self.client_away_ms = Some(now_ms);
    }

    /// What the user is told when it is at its end.
    pub(super) fn ended(&self, now_ms: u64) -> Option<String> {
        let past = |at_ms: Option<u64>| at_ms.is_some_and(|at_ms| now_ms >= at_ms);
        let [idle, client, control_plane] = self.ends();
        if past(idle) {
            let minutes = self.idle_ms_max.div_ceil(60_000);
            return Some(format!("The session ended because it was idle for {minutes} minutes."));
        }
        let texts = [
            (client, "The session ended because its client was away for too long."),
            (control_plane, "The session ended because the control plane was away for too long."),
        ];
        texts.into_iter().find(|(at_ms, _)| past(*at_ms)).map(|(_, text)| text.to_owned())
    }

    /// When it will be, if nothing happens.
    pub(super) fn ends_ms(&self) -> u64 {
        self.ends().into_iter().flatten().min().unwrap_or(u64::MAX)
    }

    fn ends(&self) -> [Option<u64>; 3] {
        [
            Some(self.active_ms + self.idle_ms_max),
            self.client_away_ms.map(|since| since + CLIENT_AWAY_MS_MAX),
            self.control_plane_away_ms.map(|since| since + CONTROL_PLANE_AWAY_MS_MAX),
        ]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use gantry_api::exec::ExecState;

    use super::*;

    fn patience() -> Patience {
        let session = ExecSession {
            session_id: "s".to_owned(),
            target: String::new(),
            task_arn: String::new(),
            runtime_id: String::new(),
            command: Vec::new(),
            state: ExecState::New,
            idle_seconds_max: 1200,
            transcript: false,
        };
        Patience::new(&session, 0)
    }

    #[test]
    fn each_thing_is_waited_for_as_long_as_it_deserves() {
        let mut session = patience();
        assert_eq!((session.ended(299_999), session.ends_ms()), (None, 300_000));
        assert!(session.ended(300_000).unwrap().contains("control plane"));
        session.control_plane_came(1_000);
        assert!(session.ended(61_000).unwrap().contains("client"));
        session.client_came();
        assert_eq!((session.ended(1_199_999), session.ends_ms()), (None, 1_200_000));
        assert_eq!(session.ended(1_200_000).unwrap(), "The session ended because it was idle for 20 minutes.");
        session.active(1_000_000);
        assert_eq!(session.ended(2_199_999), None);
        session.client_went(1_000_000);
        assert!(session.ended(1_060_000).unwrap().contains("client"));
        session.control_plane_went(1_010_000);
        assert_eq!(session.ended(1_309_999), None, "who cannot come is not away");
    }
}
