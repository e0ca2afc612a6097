//! What must hold for places in buckets, and for all services of AWS.

use super::{Config, CopyTo, S3, aws::Aws, rules::Rules, tree::step, units::ByteSize};

/// The most tags that an object may have.
const TAGS_MAX: usize = 10;

impl Rules<'_> {
    pub(super) fn aws(&mut self, aws: Aws<'_>, pointer: &str) {
        if let Some(endpoint) = aws.endpoint {
            self.endpoint(endpoint, &step(pointer, "endpoint"));
        }
        for (name, given) in [("fips", aws.fips), ("dual_stack", aws.dual_stack)] {
            if given && aws.endpoint.is_some() {
                let message = "an `endpoint` is what it is: leave one of them out";
                self.find("one-of", &step(pointer, name), message);
            }
        }
        let Some(role) = aws.role else { return };
        if !(role.arn.starts_with("arn:") && role.arn.contains(":role/")) {
            let message =
                format!("`{}` is not the ARN of a role: `arn:aws:iam::…:role/…`", role.arn);
            self.find("invalid-value", &format!("{pointer}/role/arn"), message);
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "_=,.@-".contains(c);
        let name = role.session_name.as_str();
        if !((2..=64).contains(&name.len()) && name.chars().all(plain)) {
            let message = "a session's name has 2 to 64 letters, digits and `_=,.@-`";
            self.find("invalid-value", &format!("{pointer}/role/session_name"), message);
        }
    }

    /// What is read and written goes over TLS, but on this machine.
    pub(super) fn endpoint(&mut self, endpoint: &str, pointer: &str) {
        match endpoint.parse::<axum::http::Uri>().ok().and_then(|uri| {
            let host = uri.host()?.trim_matches(['[', ']']).to_owned();
            Some((uri.scheme_str()?.to_owned(), host))
        }) {
            Some((scheme, _)) if scheme == "https" => {}
            Some((scheme, host)) if scheme == "http" => {
                let address = host.parse::<std::net::IpAddr>();
                if host != "localhost" && !address.is_ok_and(|it| it.is_loopback()) {
                    let message = format!(
                        "`{host}` is not this machine: records and signatures go over `https://`"
                    );
                    self.find("invalid-value", pointer, message);
                }
            }
            _ => {
                let message = format!(
                    "`{endpoint}` is not an address, such as `https://kinesis.example.com`"
                );
                self.find("invalid-value", pointer, message);
            }
        }
    }

    /// A bucket by its name, or by an access point.
    pub(super) fn bucket_name(&mut self, bucket: &str, pointer: &str) {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
        let is_name = (3..=63).contains(&bucket.len()) && bucket.chars().all(plain);
        let is_arn = bucket.starts_with("arn:") && bucket.contains(":accesspoint");
        if bucket.is_empty() {
            self.find("missing-key", pointer, "`bucket` names the bucket");
        } else if !is_name && !is_arn {
            let message = format!(
                "`{bucket}` is neither a bucket's name (3 to 63 lower-case letters, digits, `-` and \
                 `.`) nor the ARN of an access point"
            );
            self.find("invalid-value", &step(pointer, "bucket"), message);
        }
    }

    pub(super) fn s3(&mut self, s3: &S3, pointer: &str) {
        if cfg!(not(feature = "s3")) {
            let message = "this program was built without the feature `s3`";
            self.find("one-of", pointer, message);
        }
        self.aws(s3.aws(), pointer);
        self.bucket_name(&s3.bucket, pointer);
        let prefix = s3.prefix.trim_end_matches('/');
        if prefix.is_empty() {
            let message = "`prefix` says below what in the bucket nothing else is written";
            self.find("missing-key", pointer, message);
        } else if prefix.split('/').any(|part| matches!(part, "" | "." | ".."))
            || prefix.contains(char::is_control)
            || prefix.len() > 512
        {
            let message = format!(
                "`{prefix}` is not a prefix: parts that are names, with `/` between them, and no \
                 more than 512 bytes"
            );
            self.find("invalid-value", &step(pointer, "prefix"), message);
        }
        if s3.tags.len() > TAGS_MAX {
            self.find("out-of-range", &step(pointer, "tags"), "an object has at most ten tags");
        }
        for (name, value) in &s3.tags {
            if !(1..=128).contains(&name.chars().count()) || value.chars().count() > 256 {
                let message = "a tag's name has 1 to 128 characters, and its value at most 256";
                self.find("out-of-range", &step(&step(pointer, "tags"), name), message);
            }
        }
        let part = s3.part_size;
        if !(ByteSize::mib(5)..=ByteSize::mib(5 << 10)).contains(&part) {
            let message = "S3 takes parts from 5 MiB to 5 GiB";
            self.find("out-of-range", &step(pointer, "part_size"), message);
        } else if s3.upload_memory < part {
            let message = "one part must fit: at least `part_size`";
            self.find("out-of-range", &step(pointer, "upload_memory"), message);
        }
    }

    /// Two sinks below one prefix would take each other's objects for foreign ones, and abort each
    /// other's uploads.
    pub(super) fn prefixes(&mut self, config: &Config) {
        let sinks = config.sinks.iter().enumerate();
        let sinks = sinks.filter_map(|(i, it)| Some((format!("/sinks/{i}/s3"), it.s3.as_ref()?)));
        let dead = config.dead_letters.s3.iter().map(|it| ("/dead_letters/s3".to_owned(), it));
        let offload = config.dead_letters.copy_to.iter().filter_map(|CopyTo::Sqs(sqs)| {
            Some(("/dead_letters/copy_to/sqs/offload".to_owned(), sqs.offload.as_ref()?))
        });
        let leases = config.leases.iter().filter_map(|it| it.s3.as_ref());
        let leases = leases.map(|it| ("/leases/s3".to_owned(), it));
        let all: Vec<_> = sinks.chain(dead).chain(offload).chain(leases).collect();
        for (i, (pointer, s3)) in all.iter().enumerate() {
            for (other, before) in &all[..i] {
                let (here, there) = (s3.below(), before.below());
                if s3.bucket == before.bucket
                    && s3.endpoint == before.endpoint
                    && (here.starts_with(&there) || there.starts_with(&here))
                {
                    let message = format!("lies in the same place as `{other}`");
                    self.find("shared-directory", &step(pointer, "prefix"), message);
                }
            }
        }
    }

    pub(super) fn dead_letters(&mut self, config: &Config) {
        let dead = &config.dead_letters;
        let given = [("directory", dead.directory.is_some()), ("s3", dead.s3.is_some())];
        // A function has neither a ledger of what it wrote nor a disk that lasts.
        if config.source.lambda.is_none() || given.iter().all(|(_, given)| *given) {
            self.exactly_one("/dead_letters", &given);
        }
        if let Some(copy_to) = &dead.copy_to {
            self.copy_to(copy_to, "/dead_letters/copy_to");
        }
        let Some(s3) = &dead.s3 else { return };
        self.s3(s3, "/dead_letters/s3");
        if !s3.tree.is_empty() {
            let message = "dead letters lie side by side: leave it out";
            self.find("unsupported", "/dead_letters/s3/tree", message);
        }
    }
}
