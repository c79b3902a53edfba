//! Tags of parameters.

use std::collections::BTreeMap;

use gantry_api::{Caller, Fault};
use gantry_domain::tags::{TagError, Tags};

use super::{Inner, fault};

impl Inner {
    /// The tags of a parameter.
    pub(in crate::ssm) fn tags(&self, caller: &Caller, name: &str) -> Result<BTreeMap<String, String>, Fault> {
        Ok(self.named(caller, name)?.row.tags.clone())
    }

    /// Changes the tags of a parameter.
    pub(in crate::ssm) async fn change_tags(
        &self,
        caller: &Caller,
        name: &str,
        change: impl FnOnce(Tags) -> Result<Tags, TagError>,
    ) -> Result<(), Fault> {
        let _turn = self.turn().await;
        let parameter = self.named(caller, name)?;
        let mut row = parameter.row.clone();
        row.tags = change(Tags::from_stored(row.tags)).map_err(|error| fault::tag(&error))?.into();
        if row == parameter.row { Ok(()) } else { self.write(&parameter, &row, None).await }
    }
}
