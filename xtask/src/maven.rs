//! Libraries and servers for Java, fetched by Maven.

use std::{fs, path::Path, process::Command};

use crate::shell;

/// Puts a library and all that it needs into a folder, once. None where there is no Java or no Maven,
/// or where it can't be fetched.
pub(crate) fn fetch(folder: &Path, group: &str, artifact: &str, version: &str) -> Option<()> {
    let fetched = folder.join("fetched");
    if fetched.exists() {
        return Some(());
    }
    shell::run(Command::new("java").arg("-version")).ok()?;
    fs::create_dir_all(folder).ok()?;
    fs::write(folder.join("pom.xml"), project(group, artifact, version)).ok()?;
    let mut maven = Command::new("mvn");
    maven.current_dir(folder).args(["--quiet", "--batch-mode", "dependency:copy-dependencies"]);
    shell::run(maven.arg("-DoutputDirectory=.")).ok()?;
    fs::write(&fetched, "").ok()
}

/// A project that is nothing but what it depends on.
fn project(group: &str, artifact: &str, version: &str) -> String {
    format!(
        r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>tidegate</groupId>
  <artifactId>fetched</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>{group}</groupId>
      <artifactId>{artifact}</artifactId>
      <version>{version}</version>
    </dependency>
  </dependencies>
</project>
"#
    )
}
