//! `tidegate iam print`: what a pipeline's credentials must be allowed.

use std::fmt::Write as _;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::PipelineArgs;
use crate::{
    iam,
    output::{Failed, Outcome},
};

/// What `iam print` takes.
#[derive(Debug, Args)]
pub(super) struct PrintArgs {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// The account that streams and keys belong to whose names don't say so.
    #[arg(long, value_name = "ID", default_value = "*")]
    account: String,
    /// How the policies are written.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// How a policy is written.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Format {
    /// A policy document.
    #[default]
    Json,
    /// A resource of Terraform.
    Terraform,
}

pub(super) fn print(args: &PrintArgs) -> Result<Outcome, Failed> {
    let config = args.pipeline.load()?.config;
    let policies = iam::policies(&config, &args.account);
    let mut text = String::new();
    for (place, policy) in policies.iter().enumerate() {
        let _ = match args.format {
            Format::Terraform => {
                write!(text, "{}", iam::terraform(&config.pipeline, place, policy))
            }
            Format::Json => writeln!(text, "{:#}", policy.policy),
        };
    }
    if policies.is_empty() {
        text.push_str("the pipeline needs nothing of AWS\n");
    } else if policies.len() > 1 && matches!(args.format, Format::Json) {
        let roles = policies.iter().filter_map(|it| it.role.as_deref());
        let roles = roles.collect::<Vec<_>>().join(", ");
        let message = format!(
            "the first policy is for the credentials that the program is started with, the others \
             are for the roles that it assumes: {roles}"
        );
        tracing::info!("{message}");
    }
    Ok(Outcome::ok(json!({ "policies": policies }), text))
}
