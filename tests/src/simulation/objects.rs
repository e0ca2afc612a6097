//! Objects that all hosts see: manifests and states.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use tidegate_connectors::objects::SharedObjects;
use tidegate_core::checkpoint::{StoreError, StoreErrorKind};
use tokio::time::sleep;

use super::weather::{Spell, Weather};

/// Objects in memory. Clones share them.
#[derive(Clone, Default)]
pub struct Objects {
    objects: Arc<Mutex<BTreeMap<String, Bytes>>>,
    weather: Option<Arc<Weather>>,
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Objects").field("objects", &self.objects().len()).finish_non_exhaustive()
    }
}

impl Objects {
    pub(super) fn in_weather(weather: Arc<Weather>) -> Self {
        Objects { weather: Some(weather), ..Objects::default() }
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        // Nothing in it is ever half changed.
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the objects, if the weather lets it.
    async fn call<T>(
        &self,
        needs_room: bool,
        work: impl FnOnce(&mut BTreeMap<String, Bytes>) -> T,
    ) -> Result<T, StoreError> {
        let Some(weather) = &self.weather else { return Ok(work(&mut self.objects())) };
        sleep(weather.delay()).await;
        let unavailable = |what: &str| StoreError::plain(StoreErrorKind::Unavailable, what);
        if needs_room && weather.lasts(Spell::DiskFull) {
            return Err(unavailable("there is no room for another object"));
        }
        match weather.loses() {
            None => Ok(work(&mut self.objects())),
            Some(false) => Err(unavailable("the request was lost")),
            Some(true) => {
                work(&mut self.objects());
                Err(unavailable("the answer was lost"))
            }
        }
    }
}

#[async_trait]
impl SharedObjects for Objects {
    async fn put(&self, key: &str, content: Bytes) -> Result<(), StoreError> {
        let put = self.call(true, |objects| {
            let there = objects.entry(key.to_owned()).or_insert_with(|| content.clone());
            *there == content
        });
        match put.await? {
            true => Ok(()),
            false => {
                let message = format!("other content lies in `{key}`");
                Err(StoreError::plain(StoreErrorKind::Conflict, message))
            }
        }
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.call(false, |objects| objects.get(key).cloned()).await
    }

    async fn remove(&self, key: &str) -> Result<(), StoreError> {
        self.call(false, |objects| objects.remove(key)).await.map(drop)
    }

    fn place(&self, key: &str) -> String {
        format!("memory:{key}")
    }
}
