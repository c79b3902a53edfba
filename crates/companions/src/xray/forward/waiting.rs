//! What waits for a collector: no more than a number and bytes of it, the newest.

use std::collections::VecDeque;

use gantry_domain::arn::Scope;

const DOCUMENTS_MAX: usize = 65_536;
const BYTES_MAX: usize = 16 << 20;
/// Of one request. As spans a document is some times as long; collectors take 20 MiB.
const BATCH_DOCUMENTS_MAX: usize = 256;
const BATCH_BYTES_MAX: usize = 1 << 20;

/// The document of a segment, and the account and region that it came to.
#[derive(Debug)]
pub(in super::super) struct Document {
    pub(in super::super) scope: Scope,
    pub(in super::super) text: String,
}

/// Documents, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    documents: VecDeque<Document>,
    bytes: usize,
    dropped: u64,
    /// Taken for a request that is not over.
    under_way: usize,
}

impl Waiting {
    /// Adds documents; the oldest go when there are too many.
    pub(super) fn add(&mut self, documents: Vec<Document>) {
        for document in documents {
            self.bytes += document.text.len();
            self.documents.push_back(document);
            while (self.documents.len() > DOCUMENTS_MAX || self.bytes > BYTES_MAX) && self.next().is_some() {
                self.dropped += 1;
            }
        }
    }

    /// Takes the oldest, as many as one request has.
    pub(super) fn batch(&mut self) -> Vec<Document> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < BATCH_DOCUMENTS_MAX
            && let Some(oldest) = self.documents.front()
            && (batch.is_empty() || bytes + oldest.text.len() <= BATCH_BYTES_MAX)
        {
            bytes += oldest.text.len();
            batch.extend(self.next());
        }
        self.under_way = batch.len();
        batch
    }

    /// The request with the last batch is over.
    pub(super) fn batch_is_over(&mut self) {
        self.under_way = 0;
    }

    /// How many the collector does not have yet.
    pub(super) fn len(&self) -> usize {
        self.documents.len() + self.under_way
    }

    /// How many went since this was asked last.
    pub(super) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    fn next(&mut self) -> Option<Document> {
        let oldest = self.documents.pop_front()?;
        self.bytes -= oldest.text.len();
        Some(oldest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documents(number: usize, bytes: usize) -> Vec<Document> {
        let text = |number| format!("{}{number:05}", " ".repeat(bytes - 5));
        let document = |number| Document { scope: Scope::new("000000000000", "us-east-1"), text: text(number) };
        (0..number).map(document).collect()
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many_or_too_large() {
        for (bytes, kept) in [(10, DOCUMENTS_MAX), (64 << 10, BYTES_MAX / (64 << 10))] {
            let mut waiting = Waiting::default();
            waiting.add(documents(kept + 3, bytes));
            assert_eq!((waiting.documents.len(), waiting.bytes), (kept, kept * bytes));
            assert_eq!((waiting.take_dropped(), waiting.take_dropped()), (3, 0));
            assert!(
                waiting.batch().first().is_some_and(|oldest| oldest.text.ends_with("00003")),
                "the first three went"
            );
        }
    }

    #[test]
    fn a_batch_is_as_large_as_one_request_may_be() {
        for (bytes, batch) in [(10, BATCH_DOCUMENTS_MAX), (64 << 10, 16), (BATCH_BYTES_MAX + 1, 1)] {
            let mut waiting = Waiting::default();
            waiting.add(documents(batch + 1, bytes));
            assert_eq!([(); 3].map(|()| waiting.batch().len()), [batch, 1, 0]);
            assert_eq!(waiting.bytes, 0);
        }
    }
}
