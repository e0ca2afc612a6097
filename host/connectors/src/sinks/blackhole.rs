//! The sink that takes everything and keeps nothing: for measuring what comes before it.

use async_trait::async_trait;
use tidegate_core::{
    ObjectDigest, Sink,
    sink::{Naming, Object, SinkError},
};

/// Takes everything and keeps nothing.
#[derive(Clone, Debug)]
pub struct Blackhole {
    name: String,
}

impl Blackhole {
    /// One with a name.
    pub fn new(name: impl Into<String>) -> Self {
        Blackhole { name: name.into() }
    }
}

#[async_trait]
impl Sink for Blackhole {
    fn name(&self) -> &str {
        &self.name
    }

    fn naming(&self) -> Naming {
        Naming::Unnamed
    }

    async fn write(&self, _objects: &[Object]) -> Result<(), SinkError> {
        Ok(())
    }

    async fn find(&self, _key: &str) -> Result<Option<ObjectDigest>, SinkError> {
        Ok(None)
    }
}
