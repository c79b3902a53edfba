//! Variables whose values are on no disk: secrets.
//!
//! Whoever starts a container sends them to its shim over the socket that the shim answers on, after the request. The
//! shim keeps them in a file that is memory only, for the commands that are run in the container later, and gives them
//! to the container's program. They are in no bundle and no record.

use std::{
    fmt, fs,
    io::{self, Read, Write},
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::net::SendFlags;

use super::message::{self, State, file};

/// Bytes of all of them: more than a program can be given.
const BYTES_MAX: usize = 4 << 20;
/// How the shim's file is found among its descriptors.
const NAME: &str = "gantry-held-env";

/// `KEY=value`s that take the place of those of the same name. They do not show when they are printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct HeldEnv(pub Vec<String>);

impl fmt::Debug for HeldEnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HeldEnv({})", self.0.len())
    }
}

impl HeldEnv {
    /// As they are sent; nothing when there are none.
    pub(super) fn encode(&self) -> io::Result<Vec<u8>> {
        if self.0.is_empty() {
            return Ok(Vec::new());
        }
        let bytes = serde_json::to_vec(&self.0)?;
        if bytes.len() > BYTES_MAX { Err(io::ErrorKind::ArgumentListTooLong.into()) } else { Ok(bytes) }
    }

    fn decode(bytes: &[u8]) -> io::Result<Self> {
        if bytes.is_empty() { Ok(Self::default()) } else { Ok(Self(serde_json::from_slice(bytes)?)) }
    }

    /// Reads what was sent.
    pub(super) fn receive(socket: impl AsFd, length: usize) -> io::Result<Self> {
        if length > BYTES_MAX {
            return Err(io::ErrorKind::ArgumentListTooLong.into());
        }
        let mut bytes = vec![0; length];
        fs::File::from(socket.as_fd().try_clone_to_owned()?).read_exact(&mut bytes)?;
        Self::decode(&bytes)
    }

    /// Puts them into an environment.
    pub(super) fn merge_into(self, env: &mut Vec<String>) {
        let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
        for held in self.0 {
            match env.iter_mut().find(|entry| name(entry) == name(&held)) {
                Some(entry) => *entry = held,
                None => env.push(held),
            }
        }
    }

    /// The file that a shim keeps them in for as long as it lives; none when there are none.
    pub(super) fn keep(&self) -> io::Result<Option<OwnedFd>> {
        let bytes = self.encode()?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let kept = rustix::fs::memfd_create(NAME, rustix::fs::MemfdFlags::CLOEXEC)?;
        fs::File::from(kept.try_clone()?).write_all(&bytes)?;
        Ok(Some(kept))
    }

    /// What the shim of a running container keeps.
    pub(super) fn of_running(bundle: &Path) -> io::Result<Self> {
        let state = message::read_json::<State>(&bundle.join(file::STATE)).filter(|state| state.holds_env);
        let Some(state) = state else { return Ok(Self::default()) };
        let is_kept = |link: &Path| link.to_str().is_some_and(|link| link.starts_with(&format!("/memfd:{NAME} ")));
        for entry in fs::read_dir(format!("/proc/{}/fd", state.shim_pid))? {
            let path = entry?.path();
            if fs::read_link(&path).is_ok_and(|link| is_kept(&link)) {
                return Self::decode(&fs::read(path)?);
            }
        }
        Ok(Self::default())
    }
}

/// Sends what [`HeldEnv::encode`] made.
pub(super) fn send(socket: impl AsFd, bytes: &[u8]) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        match rustix::net::send(&socket, rest, SendFlags::NOSIGNAL) {
            Ok(sent) => rest = rest.get(sent..).unwrap_or_default(),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn held_variables_take_the_place_of_others() {
        let mut env = texts(&["PATH=/bin", "TOKEN=placeholder", "TOKENS=2"]);
        HeldEnv(texts(&["TOKEN=a=b", "NEW="])).merge_into(&mut env);
        assert_eq!(env, texts(&["PATH=/bin", "TOKEN=a=b", "TOKENS=2", "NEW="]));
    }

    #[test]
    fn what_is_sent_is_received_whole_and_does_not_show() {
        let held = HeldEnv(vec![format!("BIG={}", "x".repeat(300_000)), "TOKEN=hush".to_owned()]);
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let bytes = held.encode().unwrap();
        let length = bytes.len();
        let sender = std::thread::spawn(move || send(ours, &bytes).unwrap());
        assert_eq!(HeldEnv::receive(&theirs, length).unwrap(), held);
        sender.join().unwrap();
        assert_eq!(HeldEnv::receive(&theirs, 0).unwrap(), HeldEnv::default());
        assert!(!format!("{held:?}").contains("hush"));
    }

    #[test]
    fn what_a_shim_keeps_is_found_by_its_process() {
        let bundle = tempfile::tempdir().unwrap();
        assert_eq!(HeldEnv::of_running(bundle.path()).unwrap(), HeldEnv::default());
        let pid = std::process::id();
        let write = |state: &str| message::write_atomically(bundle.path(), file::STATE, state.as_bytes()).unwrap();
        let state = State { pid, start_time: 0, started_at_ms: 0, shim_pid: pid, shim_start_time: 0, holds_env: true };
        let state = serde_json::to_string(&state).unwrap();
        write(&state);
        assert_eq!(HeldEnv::of_running(bundle.path()).unwrap(), HeldEnv::default());
        let held = HeldEnv(texts(&["TOKEN=hush"]));
        let _kept = held.keep().unwrap();
        assert_eq!(HeldEnv::of_running(bundle.path()).unwrap(), held);
        write(&state.replace(r#","holds_env":true"#, ""));
        assert_eq!(HeldEnv::of_running(bundle.path()).unwrap(), held, "shims of an earlier version say nothing");
        write(&state.replace("true", "false"));
        assert_eq!(HeldEnv::of_running(bundle.path()).unwrap(), HeldEnv::default(), "nothing is looked for");
    }
}
