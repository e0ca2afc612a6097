//! Which account, region and address of AWS a service of the config means.

use tidegate_connectors::aws::{AwsConfig, AwsRole};

use crate::config::Aws;

pub(super) fn aws(written: Aws<'_>) -> AwsConfig {
    AwsConfig {
        region: written.region.map(str::to_owned),
        endpoint: written.endpoint.map(str::to_owned),
        role: written.role.map(|role| AwsRole {
            arn: role.arn.clone(),
            external_id: role.external_id.clone(),
            session_name: role.session_name.clone(),
        }),
        fips: written.fips,
        dual_stack: written.dual_stack,
        given: None,
    }
}
