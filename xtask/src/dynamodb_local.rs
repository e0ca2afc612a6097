//! DynamoDB as Amazon has it for one machine: the reference for conditional writes.

use std::{path::PathBuf, process::Command};

use crate::shell;

/// One version, so that a test is the same test everywhere.
const VERSION: &str = "2.6.1";

/// A folder with its jars, fetched once and kept beside what cargo builds. None where there is no
/// Java or no Maven, or where it can't be fetched: the tests say so.
pub(crate) fn folder() -> Option<PathBuf> {
    let folder = shell::target_dir().join("dynamodb-local").join(VERSION);
    let fetched = folder.join("fetched");
    if fetched.exists() {
        return Some(folder);
    }
    shell::run(Command::new("java").arg("-version")).ok()?;
    std::fs::create_dir_all(&folder).ok()?;
    std::fs::write(folder.join("pom.xml"), pom()).ok()?;
    let mut maven = Command::new("mvn");
    maven.current_dir(&folder).args(["--quiet", "--batch-mode", "dependency:copy-dependencies"]);
    shell::run(maven.arg("-DoutputDirectory=.")).ok()?;
    std::fs::write(&fetched, "").ok()?;
    Some(folder)
}

/// A project that is nothing but what it depends on.
fn pom() -> String {
    format!(
        r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>tidegate</groupId>
  <artifactId>dynamodb-local</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>com.amazonaws</groupId>
      <artifactId>DynamoDBLocal</artifactId>
      <version>{VERSION}</version>
    </dependency>
  </dependencies>
</project>
"#
    )
}
