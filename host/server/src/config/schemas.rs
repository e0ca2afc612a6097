//! The files with the schemas that a source reads by. They are part of the config: their content
//! stands in it afterwards.

#[cfg(feature = "protobuf")]
use std::path::Path;

use super::Loaded;
use crate::{files::Files, finding::Finding};

/// Reads the files that the source names, or says what is wrong with them.
pub(super) fn read(loaded: &mut Loaded, files: &Files) -> Option<Finding> {
    #[cfg(feature = "avro")]
    if let Some(finding) = avro(loaded, files) {
        return Some(finding);
    }
    #[cfg(feature = "protobuf")]
    if let Some(finding) = protobuf(loaded, files) {
        return Some(finding);
    }
    let _ = (loaded, files);
    None
}

#[cfg(feature = "avro")]
fn avro(loaded: &mut Loaded, files: &Files) -> Option<Finding> {
    use tidegate_connectors::sources::AvroSchema;

    let pointer = "/source/avro/reader_schema";
    let path = loaded.config.source.avro.as_ref()?.reader_schema.clone()?;
    let text = match files.read_to_string(&path) {
        Ok(text) => text,
        Err(error) => {
            let message = format!("failed to read `{}`: {error}", path.display());
            return Some(loaded.finding("unreadable-file", pointer, message));
        }
    };
    if let Err(reason) = AvroSchema::parse(&text) {
        let message = format!("`{}` is no schema of Avro: {reason}", path.display());
        return Some(loaded.finding("invalid-schema", pointer, message));
    }
    loaded.config.source.avro.as_mut()?.reader_schema_text = Some(text);
    None
}

#[cfg(feature = "protobuf")]
fn protobuf(loaded: &mut Loaded, files: &Files) -> Option<Finding> {
    use tidegate_connectors::sources::{MessageDecoder, MessageFormat, SchemaError};
    use tidegate_core::Digest;

    let written = loaded.config.source.protobuf.as_ref()?;
    let path = written.schema.clone();
    let descriptors = match written.is_text() {
        false => files.read(&path).map(|bytes| bytes.to_vec()).map_err(|error| {
            ("unreadable-file", format!("failed to read `{}`: {error}", path.display()))
        }),
        true => compile(&path, &written.imports, files),
    };
    let checked = descriptors.and_then(|descriptors| {
        match MessageDecoder::new(&descriptors, &written.message, MessageFormat::default()) {
            Ok(_) => Ok(descriptors),
            Err(error @ SchemaError::UnknownMessage { .. }) => {
                Err(("unknown-name", error.to_string()))
            }
            Err(error) => Err(("invalid-schema", format!("`{}`: {error}", path.display()))),
        }
    });
    match checked {
        Err((code, message)) => {
            let key = if code == "unknown-name" { "message" } else { "schema" };
            Some(loaded.finding(code, &format!("/source/protobuf/{key}"), message))
        }
        Ok(descriptors) => {
            let written = loaded.config.source.protobuf.as_mut()?;
            written.descriptors_digest = Some(Digest::of(&descriptors).to_string());
            written.descriptors = Some(descriptors.into());
            None
        }
    }
}

/// The descriptor set of a `.proto` and all that it imports.
#[cfg(feature = "protobuf")]
fn compile(
    path: &Path,
    imports: &[std::path::PathBuf],
    files: &Files,
) -> Result<Vec<u8>, (&'static str, String)> {
    use std::io;

    use tidegate_connectors::sources::compile_protobuf;

    let own = path.parent().unwrap_or(Path::new("")).to_owned();
    let imports = if imports.is_empty() { std::slice::from_ref(&own) } else { imports };
    let name = imports.iter().find_map(|it| path.strip_prefix(it).ok()?.to_str());
    let Some(name) = name else {
        let message = format!("`{}` lies in none of `imports`", path.display());
        return Err(("invalid-schema", message));
    };
    let read = |name: &str| {
        for import in imports {
            match files.read_to_string(&import.join(name)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => return other,
            }
        }
        Err(io::ErrorKind::NotFound.into())
    };
    compile_protobuf(name, &read).map_err(|reason| ("invalid-schema", reason))
}
