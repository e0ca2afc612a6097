//! What all services of AWS have in common: where they are, who asks, and on which threads.

#[cfg(any(
    feature = "dynamodb",
    feature = "firehose",
    feature = "kinesis",
    feature = "s3",
    feature = "sqs"
))]
pub(crate) mod answer;
#[cfg(feature = "dynamodb")]
pub(crate) mod dynamodb;
#[cfg(any(
    feature = "dynamodb",
    feature = "firehose",
    feature = "kinesis",
    feature = "s3",
    feature = "sqs"
))]
pub(crate) mod probe;
#[cfg(any(feature = "firehose", feature = "kinesis", feature = "sqs"))]
pub(crate) mod refusals;
#[cfg(feature = "s3")]
pub(crate) mod s3;
#[cfg(feature = "sqs")]
pub(crate) mod sqs;

use std::{
    future::Future,
    net::{IpAddr, SocketAddr},
    sync::OnceLock,
    time::Duration,
};

use aws_config::{
    BehaviorVersion, ConfigLoader, Region, SdkConfig, retry::RetryConfig, sts::AssumeRoleProvider,
    timeout::TimeoutConfig,
};
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{Intercept, context::BeforeTransmitInterceptorContextRef},
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::config_bag::ConfigBag;
use tokio::{
    runtime::Handle,
    task::{JoinError, JoinSet},
};

/// A server that does not take a connection within this is not there.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Which account, which region, which address.
#[derive(Clone, Debug, Default)]
pub struct AwsConfig {
    /// The region; without it what the environment or the profile says.
    pub region: Option<String>,
    /// The service's address; without it the region's.
    pub endpoint: Option<String>,
    /// A role to assume; without it whatever AWS's usual chain finds is used as it is.
    pub role: Option<AwsRole>,
    /// Addresses whose cryptography is validated by FIPS 140.
    pub fips: bool,
    /// Addresses that are reached by IPv6 too.
    pub dual_stack: bool,
    /// Credentials, region and whatever else AWS's library is set up with, where that is not to be
    /// found by its usual chain. Then it is taken as it is.
    pub given: Option<SdkConfig>,
}

/// A role to assume.
#[derive(Clone, Debug)]
pub struct AwsRole {
    /// Its ARN.
    pub arn: String,
    /// What its trust policy may ask for.
    pub external_id: Option<String>,
    /// What the session is called in the account's logs.
    pub session_name: String,
}

impl AwsConfig {
    /// What clients are made of. The endpoint is the service's own and is not in it: the service
    /// that roles are assumed by has another.
    pub(crate) async fn load(&self) -> SdkConfig {
        if let Some(given) = &self.given {
            return given.clone();
        }
        let base = self.loader().load().await;
        let Some(role) = &self.role else { return base };
        let mut assumed = AssumeRoleProvider::builder(&role.arn)
            .session_name(&role.session_name)
            .configure(&base);
        if let Some(id) = &role.external_id {
            assumed = assumed.external_id(id);
        }
        self.loader().credentials_provider(assumed.build().await).load().await
    }

    fn loader(&self) -> ConfigLoader {
        let mut loader = aws_config::defaults(BehaviorVersion::latest());
        if let Some(region) = self.region.clone() {
            loader = loader.region(Region::new(region));
        }
        // Where they are not asked for, the environment may still do so.
        if self.fips {
            loader = loader.use_fips(true);
        }
        if self.dual_stack {
            loader = loader.use_dual_stack(true);
        }
        loader
    }
}

/// The pipeline repeats what failed, and nobody else.
pub(crate) fn no_retries() -> RetryConfig {
    RetryConfig::disabled()
}

/// What all services are set up with: where they are, how long a call may take, no attempt that the
/// pipeline does not know of, and TLS. The types of AWS's libraries have no trait in common.
macro_rules! service_config {
    ($service:ident, $aws:expr, $call_max:expr) => {{
        let aws: &$crate::aws::AwsConfig = $aws;
        let mut config = $service::config::Builder::from(&aws.load().await);
        if let Some(endpoint) = &aws.endpoint {
            config = config.endpoint_url(endpoint);
        }
        config
            .timeout_config($crate::aws::timeouts($call_max))
            .retry_config($crate::aws::no_retries())
            .interceptor($crate::aws::TlsOnly)
    }};
}
pub(crate) use service_config;

/// How long a call may take.
pub(crate) fn timeouts(call_max: Duration) -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECT_MAX).operation_timeout(call_max).build()
}

/// Refuses to send anything without TLS but to this machine, whoever has set the address: the
/// config, the environment or a profile.
#[derive(Debug)]
pub(crate) struct TlsOnly;

/// A request would have gone without TLS to another machine.
#[derive(Debug, thiserror::Error)]
#[error("records and signatures go over `https://`, except to this machine")]
pub(crate) struct NotTls;

impl Intercept for TlsOnly {
    fn name(&self) -> &'static str {
        "tls-only"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let uri = context.request().uri();
        match uri.starts_with("https://") || is_this_machine(uri) {
            true => Ok(()),
            false => Err(NotTls.into()),
        }
    }
}

/// Whether an address is one of this machine's own.
fn is_this_machine(uri: &str) -> bool {
    let Some(rest) = uri.strip_prefix("http://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if let Ok(address) = authority.parse::<SocketAddr>() {
        return address.ip().is_loopback();
    }
    if let Ok(address) = authority.trim_matches(['[', ']']).parse::<IpAddr>() {
        return address.is_loopback();
    }
    let host = authority.split_once(':').map_or(authority, |(host, _)| host);
    host == "localhost" || host.ends_with(".localhost")
}

/// Where calls are made: the pipeline's own runtime and no worker's. A connection that is shared
/// must not wait for one worker's plugins.
///
/// By default it is the runtime of whoever is first to ask for some work.
#[derive(Debug, Default)]
pub(crate) struct Io(OnceLock<Handle>);

impl Io {
    /// The runtime that this is called on, if it is called on one.
    pub(crate) fn here() -> Io {
        Io(Handle::try_current().map(OnceLock::from).unwrap_or_default())
    }

    /// The runtime; that of whoever asks, where nobody has before.
    pub(crate) fn handle(&self) -> Handle {
        self.0.get_or_init(Handle::current).clone()
    }

    /// Does some work there. Dropping the future ends the work.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, JoinError> {
        let mut tasks = JoinSet::new();
        tasks.spawn_on(work, &self.handle());
        tasks.join_next().await.expect("one task was spawned")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_known_by_its_addresses() {
        for uri in [
            "http://127.0.0.1:9000/b/k",
            "http://127.0.0.1",
            "http://[::1]:9000/",
            "http://localhost:4566/?x",
            "http://bucket.localhost:4566/k",
        ] {
            assert!(is_this_machine(uri), "{uri}");
        }
        for uri in [
            "http://10.0.0.1:9000/",
            "http://127.0.0.1@example.com/",
            "http://localhost.example.com/",
            "http://example.com/localhost",
            "ftp://127.0.0.1/",
        ] {
            assert!(!is_this_machine(uri), "{uri}");
        }
    }
}
