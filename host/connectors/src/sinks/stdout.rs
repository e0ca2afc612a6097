//! Standard output as a sink: lines, at least once.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use tidegate_core::{
    ObjectDigest, Sink,
    sink::{Naming, Object, SinkError, SinkErrorKind},
};

use crate::blocking::off_task;

/// Writes objects one behind the other to standard output. What a reader at the other end of a
/// pipe has got can't be asked, so that a replay after a crash shows records twice.
#[derive(Clone)]
pub struct StandardOutput {
    name: String,
    /// Held for a whole call, so that lines of two partitions don't mix.
    output: Arc<Mutex<dyn Write + Send>>,
}

impl StandardOutput {
    /// The process's standard output, as a sink with a name.
    pub fn new(name: impl Into<String>) -> Self {
        Self::into_writer(name, io::stdout())
    }

    /// The same over any writer.
    pub fn into_writer(name: impl Into<String>, output: impl Write + Send + 'static) -> Self {
        StandardOutput { name: name.into(), output: Arc::new(Mutex::new(output)) }
    }
}

#[async_trait]
impl Sink for StandardOutput {
    fn name(&self) -> &str {
        &self.name
    }

    fn naming(&self) -> Naming {
        Naming::Unnamed
    }

    async fn write(&self, objects: &[Object]) -> Result<(), SinkError> {
        let output = self.output.clone();
        let contents: Vec<_> = objects.iter().map(|object| object.content.clone()).collect();
        let written = off_task(true, move || -> io::Result<()> {
            let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
            contents.iter().try_for_each(|content| output.write_all(content))?;
            output.flush()
        });
        match written.await {
            Ok(()) => Ok(()),
            Err(error) => {
                let message = match error.kind() {
                    io::ErrorKind::BrokenPipe => "nobody reads standard output any more",
                    _ => "failed to write to standard output",
                };
                Err(SinkError::new(SinkErrorKind::Broken, message, error))
            }
        }
    }

    async fn find(&self, _key: &str) -> Result<Option<ObjectDigest>, SinkError> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(content: &'static str) -> Object {
        Object::new("unused", content)
    }

    #[tokio::test]
    async fn objects_come_out_in_order() {
        let (mut reader, writer) = io::pipe().unwrap();
        let sink = StandardOutput::into_writer("out", writer);
        sink.write(&[object("a\nb\n"), object("c\n")]).await.unwrap();
        sink.write(&[object("d\n")]).await.unwrap();
        drop(sink);
        assert_eq!(io::read_to_string(&mut reader).unwrap(), "a\nb\nc\nd\n");
    }

    #[tokio::test]
    async fn a_reader_that_left_is_fatal() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let sink = StandardOutput::into_writer("out", writer);
        let error = sink.write(&[object("a\n")]).await.unwrap_err();
        assert_eq!(error.kind, SinkErrorKind::Broken);
        assert_eq!(error.message, "nobody reads standard output any more");
    }
}
