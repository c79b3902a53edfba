//! Join tokens: an operator makes one, hands it to machines, and may take it back.

use gantry_api::{Caller, Fault};
use gantry_store::Txn;
use serde::{Deserialize, Serialize};

use super::rows::{TokenRow, token_key};
use super::{Machines, fault, hash, random_text, secret};

/// What a token begins with.
pub(super) const PREFIX: &str = "gjt";
/// Tokens of an account and region at a time.
const TOKENS_MAX: usize = 1000;
/// A token is for the next minutes; whoever rolls out a rack says more.
const SECONDS_DEFAULT: u64 = 3600;
/// A year: longer is no bound.
const SECONDS_MAX: u64 = 365 * 24 * 3600;
const USES_MAX: u32 = 10_000;

/// The token that is asked for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenOrder {
    /// The only cluster that its machines may register in; none for any.
    #[serde(default)]
    pub cluster: Option<String>,
    /// How many machines it is for; one when absent.
    #[serde(default)]
    pub uses: Option<u32>,
    /// How long it is good; an hour when absent.
    #[serde(default)]
    pub ttl_seconds: Option<u64>,
    /// Its machines may offer themselves to the Fargate fleet.
    #[serde(default)]
    pub fargate: bool,
}

/// A token as it is shown, once.
#[derive(Clone, Serialize, Deserialize)]
pub struct NewToken {
    /// The secret.
    pub token: String,
    /// What is listed of it.
    pub view: TokenView,
}

/// What can be seen of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenView {
    /// Its id.
    pub id: String,
    /// The only cluster of its machines.
    pub cluster: Option<String>,
    /// For the Fargate fleet too.
    pub fargate: bool,
    /// For how many machines it was made.
    pub uses: u32,
    /// For how many more it is.
    pub uses_left: u32,
    /// Milliseconds since the epoch.
    pub created_at: u64,
    /// Milliseconds since the epoch.
    pub expires_at: u64,
}

impl Machines {
    /// Makes a token.
    ///
    /// # Errors
    /// When the order makes no sense, there are too many, or the store fails.
    pub async fn create_token(&self, caller: &Caller, order: TokenOrder) -> Result<NewToken, Fault> {
        let row = self.new_row(order)?;
        self.iam().ensure_instance_role(&caller.account).await?;
        let id = random_text(12)?;
        let token = secret::token(PREFIX, &id)?;
        let row = TokenRow { hash: hash(&token), ..row };
        let scope = (caller.account.clone(), caller.region.clone());
        let value = serde_json::to_vec(&row).map_err(fault::unavailable)?;
        self.change(|picture| {
            let own = picture.tokens.iter().filter(|(_, kept)| kept.scope == scope);
            let (mut txn, mut count) = (Txn::new(), 0);
            let crowded = own.clone().count() >= TOKENS_MAX;
            for (id, kept) in own {
                // Whoever makes one clears away what is of no use any more. A token that is used up is of use while
                // there is room: a machine that did not hear the answer asks with it again.
                if kept.row.expires_at <= row.created_at || (crowded && kept.row.uses_left == 0) {
                    let key = token_key(&scope.0, &scope.1, id);
                    txn = txn.require(&key, kept.revision).delete(key);
                } else {
                    count += 1;
                }
            }
            if count >= TOKENS_MAX {
                return Err(fault::too_many_tokens());
            }
            let key = token_key(&scope.0, &scope.1, &id);
            Ok((txn.require_absent(key.clone()).put(key, value.clone()), ()))
        })
        .await?;
        Ok(NewToken { token, view: view(&id, &row) })
    }

    fn new_row(&self, order: TokenOrder) -> Result<TokenRow, Fault> {
        let seconds = order.ttl_seconds.unwrap_or(SECONDS_DEFAULT);
        if !(1..=SECONDS_MAX).contains(&seconds) {
            return Err(fault::invalid(format!("A token is good for 1 to {SECONDS_MAX} seconds.")));
        }
        let uses = order.uses.unwrap_or(1);
        if !(1..=USES_MAX).contains(&uses) {
            return Err(fault::invalid(format!("A token is for 1 to {USES_MAX} machines.")));
        }
        let cluster = order.cluster.filter(|name| !name.is_empty());
        let cluster: Option<gantry_domain::arn::Name> = cluster
            .map(|name| name.parse())
            .transpose()
            .map_err(|_| fault::invalid("cluster is not a cluster's name."))?;
        let created_at = self.now();
        Ok(TokenRow {
            hash: String::new(),
            cluster: cluster.map(|name| name.to_string()),
            fargate: order.fargate,
            uses,
            uses_left: uses,
            created_at,
            expires_at: created_at + seconds * 1000,
        })
    }

    /// The tokens of the caller's account and region that are still good.
    pub fn tokens(&self, caller: &Caller) -> Vec<TokenView> {
        let now = self.now();
        let here = (caller.account.clone(), caller.region.clone());
        self.look(|picture| {
            let good = picture.tokens.iter().filter(|(_, kept)| kept.scope == here && kept.row.expires_at > now);
            good.map(|(id, kept)| view(id, &kept.row)).collect()
        })
    }

    /// Takes a token back. Machines that joined with it stay.
    ///
    /// # Errors
    /// When there is none, or the store fails.
    pub async fn revoke_token(&self, caller: &Caller, id: &str) -> Result<(), Fault> {
        let here = (caller.account.clone(), caller.region.clone());
        self.change(|picture| {
            let kept = picture.tokens.get(id).filter(|kept| kept.scope == here);
            let kept = kept.ok_or_else(|| fault::no_token(id))?;
            let key = token_key(&here.0, &here.1, id);
            Ok((Txn::new().require(&key, kept.revision).delete(key), ()))
        })
        .await
    }
}

fn view(id: &str, row: &TokenRow) -> TokenView {
    TokenView {
        id: id.to_owned(),
        cluster: row.cluster.clone(),
        fargate: row.fargate,
        uses: row.uses,
        uses_left: row.uses_left,
        created_at: row.created_at,
        expires_at: row.expires_at,
    }
}
