//! Pythons with libraries of others, so that the tests have somebody else read and write files.

use std::{path::PathBuf, process::Command};

use crate::shell;

/// An environment of Python, and the variable that tells the tests where its interpreter is.
pub(crate) struct Environment {
    pub(crate) variable: &'static str,
    folder: &'static str,
    /// One version of each, so that a test is the same test everywhere.
    packages: &'static [&'static str],
}

/// All environments. Each has its own folder: what one format's libraries need is nothing to others.
pub(crate) const ENVIRONMENTS: &[Environment] = &[
    Environment { variable: "TIDEGATE_PYARROW", folder: "pyarrow", packages: &["pyarrow==21.0.0"] },
    Environment {
        variable: "TIDEGATE_FASTAVRO",
        folder: "fastavro",
        packages: &["fastavro==1.13.1", "cramjam==2.14.0", "backports.zstd==1.8.0"],
    },
    Environment {
        variable: "TIDEGATE_PROTOBUF",
        folder: "protobuf",
        packages: &["protobuf==7.36.2", "grpcio-tools==1.85.1"],
    },
    // Amazon's own library that makes and reads aggregates of Kinesis records.
    Environment {
        variable: "TIDEGATE_AGGREGATES",
        folder: "aggregates",
        packages: &["aws-kinesis-agg==1.2.3", "protobuf==7.36.2", "six==1.17.0"],
    },
    // A producer's libraries, to encrypt what it sends.
    Environment {
        variable: "TIDEGATE_ENVELOPES",
        folder: "envelopes",
        packages: &["boto3==1.44.8", "cryptography==50.0.2"],
    },
    // A server of AWS's services: Firehose, KMS, SQS, and S3 of another make than the embedded one.
    Environment {
        variable: "TIDEGATE_MINISTACK",
        folder: "ministack",
        packages: &["ministack==1.5.33"],
    },
];

impl Environment {
    /// The interpreter of a virtual environment that is made once and kept beside what cargo builds.
    /// None where there is no Python, or where it can't be installed: the tests say so.
    pub(crate) fn python(&self) -> Option<PathBuf> {
        let folder = shell::target_dir().join(self.folder);
        let python = folder.join("bin/python");
        let installed = folder.join(self.packages.join("-"));
        if installed.exists() {
            return Some(python);
        }
        shell::run(Command::new("python3").args(["-m", "venv"]).arg(&folder)).ok()?;
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        let mut install = Command::new(&python);
        install.args(pip).args(["--only-binary", ":all:"]).args(self.packages);
        shell::run(&mut install).ok()?;
        std::fs::write(&installed, "").ok()?;
        Some(python)
    }
}
