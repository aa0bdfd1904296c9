//! Watches what is asked of the store.

use std::sync::atomic::Ordering;

use belay_core::ports::StoreError;
use tokio::time::Instant;

use super::Node;
use crate::metrics::count;

impl Node {
    /// Does a store operation, unless the store answers too late for that now.
    pub(crate) async fn observe<T>(
        &self,
        operation: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        if self.cluster.as_ref().is_some_and(|cluster| cluster.circuit.is_open()) {
            self.metrics.store_not_asked.inc();
            return Err(StoreError::Unavailable("it answers too late or not at all".to_owned()));
        }
        self.probe(operation).await
    }

    /// Watches a store operation: its time, its failures, whether the store is there.
    pub(crate) async fn probe<T>(
        &self,
        operation: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let started = Instant::now();
        let result = operation.await;
        let took = started.elapsed();
        self.metrics.store_seconds.observe(took.as_secs_f64());
        if let Some(cluster) = &self.cluster {
            let answered = !matches!(result, Err(StoreError::Unavailable(_)));
            cluster.circuit.took(took, answered);
        }
        if let Err(error) = &result {
            count(&self.metrics.store_failures, error.label());
            if !matches!(error, StoreError::Conflict) {
                self.store_ok.store(false, Ordering::Release);
            }
        }
        result
    }

    /// The same for one that writes, which shows that the store is well: one that can only be read is not.
    pub(crate) async fn observe_write<T>(
        &self,
        operation: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let result = self.observe(operation).await;
        if result.is_ok() {
            self.store_ok.store(true, Ordering::Release);
        }
        result
    }

    /// Asks a store that did not do its work whether it does again; where nodes share one, it is asked
    /// whenever somebody wants to know.
    pub(crate) async fn recheck(&self) {
        if let Some(cluster) = &self.cluster {
            let store = self.probe(self.stores.sessions.check()).await;
            let well = store.is_ok() && !cluster.circuit.is_open();
            return self.store_ok.store(well, Ordering::Release);
        }
        if !self.store_ok.load(Ordering::Acquire) {
            let _ = self.observe_write(self.stores.sessions.check()).await;
        }
    }
}
