//! Rules that are due by the clock.
//!
//! When a rule is due next is a row, so that a restart neither forgets nor repeats it. A rule that was due while the
//! server was down is due once when it comes back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gantry_api::event::Event;
use gantry_domain::Timestamp;
use gantry_domain::event_schedule::Schedule;
use gantry_store::{KeyRange, StoreError, Txn, TxnError};
use serde_json::json;

use super::EventBridge;
use super::picture::Rule;
use super::rows::{RuleKey, SCHEDULES, ScheduleRow};

/// The clock is looked at this often at least: it may have been set.
const LOOK_MS_MAX: i64 = 60_000;
/// How long to wait before a store that failed is asked again.
const RETRY: Duration = Duration::from_secs(1);

impl EventBridge {
    /// Sends the events of rules with schedules until the future is dropped.
    pub async fn follow_schedules(self) {
        let mut known = loop {
            match self.load_schedules().await {
                Ok(known) => break known,
                Err(error) => tracing::warn!(%error, "the schedules of rules cannot be read"),
            }
            tokio::time::sleep(RETRY).await;
        };
        let mut seen = self.inner.view.subscribe();
        loop {
            seen.mark_unchanged();
            let wait = match self.look(&mut known).await {
                Ok(wait) => wait,
                Err(error) => {
                    tracing::warn!(error, "a rule that is due could not be carried out");
                    RETRY
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                changed = seen.changed() => if changed.is_err() { return },
            }
        }
    }

    async fn load_schedules(&self) -> Result<BTreeMap<RuleKey, ScheduleRow>, StoreError> {
        let mut known = BTreeMap::new();
        let each = |kv: gantry_store::KeyValue| {
            if let (Some(key), Ok(row)) = (RuleKey::of_schedule(&kv.key), serde_json::from_slice(&kv.value)) {
                known.insert(key, row);
            }
        };
        self.inner.store.scan(KeyRange::prefix(SCHEDULES), each).await?;
        Ok(known)
    }

    /// Carries out what is due; how long there is nothing to do then.
    async fn look(&self, known: &mut BTreeMap<RuleKey, ScheduleRow>) -> Result<Duration, String> {
        let rules: BTreeMap<RuleKey, Arc<Rule>> = {
            let picture = self.inner.view.read();
            let scheduled = picture.rules.iter().filter(|(_, rule)| rule.is_enabled() && rule.schedule.is_some());
            scheduled.map(|(key, rule)| (key.clone(), Arc::clone(rule))).collect()
        };
        let gone: Vec<RuleKey> = known.keys().filter(|key| !rules.contains_key(*key)).cloned().collect();
        for key in gone {
            self.put(Txn::new().delete(key.schedule())).await?;
            known.remove(&key);
        }
        let mut soonest = LOOK_MS_MAX;
        for (key, rule) in rules {
            let (Some(schedule), Some(expression)) = (&rule.schedule, &rule.row.schedule) else { continue };
            let now = (self.inner.clock)();
            let row = known.get(&key).filter(|row| row.expression == *expression).cloned();
            let row = match row {
                Some(row) if row.due_ms <= now.as_millis() => {
                    let due = Timestamp::from_millis(row.due_ms);
                    let next = row_after(schedule, expression, due, now);
                    let event = event(&key, due);
                    let taken = self.inner.intake.take_due(key.clone(), next.clone(), event).await;
                    taken.map_err(|error| error.to_string())?;
                    next
                }
                Some(row) => row,
                None => {
                    let row = row_after(schedule, expression, now, now);
                    let value = serde_json::to_vec(&row).map_err(|error| error.to_string())?;
                    self.put(Txn::new().put(key.schedule(), value)).await?;
                    row
                }
            };
            soonest = soonest.min(row.due_ms.saturating_sub(now.as_millis()));
            known.insert(key, row);
        }
        Ok(Duration::from_millis(u64::try_from(soonest).unwrap_or(0).max(1)))
    }

    async fn put(&self, txn: Txn) -> Result<(), String> {
        match self.inner.store.txn(txn).await {
            Ok(_) | Err(TxnError::Conflict { .. }) => Ok(()),
            Err(TxnError::Store(error)) => Err(error.to_string()),
        }
    }
}

/// When a rule that was due at `due` is due again: once, however late it is now.
fn row_after(schedule: &Schedule, expression: &str, due: Timestamp, now: Timestamp) -> ScheduleRow {
    let next = match schedule {
        Schedule::Rate { seconds } => {
            let period = seconds * 1000;
            let missed = now.millis_since(due).max(0) / period;
            Some(due.plus_millis((missed + 1) * period))
        }
        Schedule::Cron(_) => schedule.next(now),
    };
    ScheduleRow { expression: expression.to_owned(), due_ms: next.map_or(i64::MAX, Timestamp::as_millis) }
}

fn event(key: &RuleKey, due: Timestamp) -> Event {
    Event {
        id: uuid::Uuid::new_v4().to_string(),
        source: "aws.events".to_owned(),
        detail_type: "Scheduled Event".to_owned(),
        account: key.scope.account.clone(),
        region: key.scope.region.clone(),
        time_ms: due.as_millis(),
        resources: vec![key.arn()],
        detail: json!({}),
    }
}
