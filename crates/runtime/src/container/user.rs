//! `user[:group]` looked up in an image's own /etc/passwd and /etc/group, as Docker does.

/// Who a container's program runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Supplementary groups, without `gid`.
    pub(super) groups: Vec<u32>,
    pub(super) home: String,
}

impl Identity {
    /// The same in further groups.
    pub(super) fn in_groups(mut self, groups: &[u32]) -> Self {
        self.groups.extend(groups);
        self.groups.sort_unstable();
        self.groups.dedup();
        self
    }
}

/// Why a user cannot be found; the sentences are Docker's.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum UserError {
    #[error("unable to find user {0}: no matching entries in passwd file")]
    NoUser(String),
    #[error("unable to find group {0}: no matching entries in group file")]
    NoGroup(String),
}

/// Finds `wanted` (`user`, `uid`, `user:group`, `uid:gid`, or empty for root).
pub(super) fn identify(wanted: &str, passwd: &str, group: &str) -> Result<Identity, UserError> {
    let (user, wanted_group) = match wanted.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (wanted, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let number = user.parse::<u32>().ok();
    // A name wins over a number, so that a user called "1000" is found, as in Docker.
    let entry =
        passwd.lines().filter_map(PasswdEntry::parse).find(|entry| entry.name == user || Some(entry.uid) == number);
    let (uid, primary, home, name) = match (&entry, number) {
        (Some(entry), _) => (entry.uid, entry.gid, entry.home, Some(entry.name)),
        (None, Some(uid)) => (uid, 0, "/", None),
        (None, None) => return Err(UserError::NoUser(user.to_owned())),
    };
    let gid = match wanted_group {
        None => primary,
        Some(wanted) => find_group(wanted, group)?,
    };
    // Naming a group means exactly that group; otherwise the user's memberships count.
    let groups = match (wanted_group, name) {
        (None, Some(name)) => memberships(name, group, gid),
        _ => Vec::new(),
    };
    Ok(Identity { uid, gid, groups, home: if home.is_empty() { "/".to_owned() } else { home.to_owned() } })
}

struct PasswdEntry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl<'a> PasswdEntry<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(Self { name, uid, gid, home: fields.nth(1).unwrap_or("/") })
    }
}

fn group_entries(group: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    group.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let gid = fields.nth(1)?.parse().ok()?;
        Some((name, gid, fields.next().unwrap_or_default()))
    })
}

fn find_group(wanted: &str, group: &str) -> Result<u32, UserError> {
    let number = wanted.parse::<u32>().ok();
    group_entries(group)
        .find(|(name, gid, _)| *name == wanted || Some(*gid) == number)
        .map(|(_, gid, _)| gid)
        .or(number)
        .ok_or_else(|| UserError::NoGroup(wanted.to_owned()))
}

fn memberships(user: &str, group: &str, primary: u32) -> Vec<u32> {
    let mut groups: Vec<u32> = group_entries(group)
        .filter(|(_, gid, members)| *gid != primary && members.split(',').any(|member| member.trim() == user))
        .map(|(_, gid, _)| gid)
        .collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:33:web:/var/www:/bin/false\n1234:x:7:7::/odd:/bin/sh\nbroken\nsh:x:1:1\n";
    const GROUP: &str = "root:x:0:\nweb:x:33:\nstaff:x:50:web,root\naudio:x:63:web\n";

    fn check(wanted: &str, uid: u32, gid: u32, groups: &[u32], home: &str) {
        let expected = Identity { uid, gid, groups: groups.to_vec(), home: home.to_owned() };
        assert_eq!(identify(wanted, PASSWD, GROUP).unwrap(), expected, "{wanted:?}");
    }

    #[test]
    fn users_and_groups_by_name_and_number() {
        check("", 0, 0, &[50], "/root");
        check("root", 0, 0, &[50], "/root");
        check("web", 33, 33, &[50, 63], "/var/www");
        check("33", 33, 33, &[50, 63], "/var/www");
        check("web:staff", 33, 50, &[], "/var/www");
        check("web:63", 33, 63, &[], "/var/www");
        check("web:9999", 33, 9999, &[], "/var/www");
        check("1000", 1000, 0, &[], "/");
        check("1000:1000", 1000, 1000, &[], "/");
        check("1234", 7, 7, &[], "/odd");
        check("sh", 1, 1, &[], "/");
        check(":staff", 0, 50, &[], "/root");
    }

    #[test]
    fn an_image_without_passwd_has_numbers_only() {
        assert_eq!(identify("5:6", "", "").unwrap(), Identity { uid: 5, gid: 6, groups: vec![], home: "/".into() });
        assert_eq!(
            identify("nobody", "", "").unwrap_err().to_string(),
            "unable to find user nobody: no matching entries in passwd file"
        );
        assert_eq!(
            identify("0:wheel", PASSWD, GROUP).unwrap_err().to_string(),
            "unable to find group wheel: no matching entries in group file"
        );
    }
}
