//! What was found out last, for those who ask often.

use std::time::Duration;

use tokio::{sync::Mutex, time::Instant};

/// An answer and when it was found. Whoever asks while it is looked for waits for it.
pub(super) struct Recent<T>(Mutex<Option<(Instant, T)>>);

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Recent<T> {
    /// The last answer when it is younger than `age_max`, else a new one.
    pub(super) async fn get(&self, age_max: Duration, find: impl Future<Output = T>) -> T {
        let mut known = self.0.lock().await;
        if let Some((_, answer)) = known.as_ref().filter(|(at, _)| at.elapsed() < age_max) {
            return answer.clone();
        }
        let at = Instant::now();
        let answer = find.await;
        *known = Some((at, answer.clone()));
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_counts_for_a_while() {
        let (recent, age_max) = (Recent::default(), Duration::from_secs(2));
        assert_eq!(recent.get(age_max, async { 1 }).await, 1);
        tokio::time::advance(Duration::from_millis(1999)).await;
        assert_eq!(recent.get(age_max, async { 2 }).await, 1);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(recent.get(age_max, async { 3 }).await, 3);
    }
}
