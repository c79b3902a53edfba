//! Calls that come from inside the server: made by a part of it in somebody's name, and allowed only what that
//! somebody is allowed.

use std::sync::Arc;

use gantry_api::{Caller, Fault};

use crate::access::{Access, Facts};
use crate::principals::Principals;
use crate::route;
use crate::services::{Input, Service};

/// A service as it is called from inside.
pub struct Inside {
    service: Arc<dyn Service>,
    principals: Arc<dyn Principals>,
    facts: Arc<dyn Facts>,
}

impl Inside {
    /// `service`, allowing what the policies of `principals` allow.
    pub fn new(service: Arc<dyn Service>, principals: Arc<dyn Principals>, facts: Arc<dyn Facts>) -> Self {
        Self { service, principals, facts }
    }

    /// Authorizes and carries out one call of a JSON service.
    ///
    /// # Errors
    /// What a client would read.
    pub async fn call(&self, caller: &Caller, operation: &str, body: &[u8]) -> Result<Vec<u8>, Fault> {
        let info = self.service.info();
        let input = Input::Json(body);
        let access = Access { principals: self.principals.as_ref(), facts: self.facts.as_ref() };
        access.authorize(caller, info, operation, input)?;
        let answered = self.service.call(caller, operation, input).await;
        answered.unwrap_or_else(|| Err(route::unknown_operation(info, operation)))
    }
}
