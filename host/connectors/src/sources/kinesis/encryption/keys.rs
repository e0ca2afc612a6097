//! Which keys of KMS a payload's data key may be encrypted under.

use std::fmt;

/// An ARN is at most as long as IAM allows one to be.
const ARN_BYTES_MAX: usize = 2_048;

/// The ARN of a key of KMS.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyArn {
    partition: String,
    region: String,
    account: String,
    id: String,
}

impl KeyArn {
    /// Reads `arn:aws:kms:<region>:<account>:key/<id>`. An alias is none.
    pub fn parse(text: &str) -> Option<KeyArn> {
        let word = |it: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
            (!it.is_empty() && it.chars().all(plain)).then(|| it.to_owned())
        };
        if text.len() > ARN_BYTES_MAX {
            return None;
        }
        let parts: Vec<&str> = text.split(':').collect();
        let ["arn", partition, "kms", region, account, resource] = parts[..] else { return None };
        let is_account = account.len() == 12 && account.bytes().all(|it| it.is_ascii_digit());
        Some(KeyArn {
            partition: word(partition)?,
            region: word(region)?,
            account: is_account.then(|| account.to_owned())?,
            id: word(resource.strip_prefix("key/")?)?,
        })
    }

    /// The region that it is in.
    pub(super) fn region(&self) -> &str {
        &self.region
    }

    /// Whether both are the same key, or replicas of one multi-Region key.
    fn is_replica_of(&self, other: &KeyArn) -> bool {
        let same = self.partition == other.partition && self.account == other.account;
        same && self.id == other.id && (self.region == other.region || self.id.starts_with("mrk-"))
    }
}

impl fmt::Display for KeyArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let KeyArn { partition, region, account, id } = self;
        write!(f, "arn:{partition}:kms:{region}:{account}:key/{id}")
    }
}

/// Accounts whose keys may all be used.
#[derive(Clone, Debug, Default)]
pub struct KeyDiscovery {
    /// The part of AWS: `aws`, `aws-cn`, `aws-us-gov`.
    pub partition: String,
    /// The accounts.
    pub accounts: Vec<String>,
    /// The regions that their keys may lie in: a payload names one, and no other is ever asked.
    pub regions: Vec<String>,
}

/// The keys that the operator allows. No other is ever asked for anything.
#[derive(Clone, Debug, Default)]
pub(super) struct AllowedKeys {
    pub(super) named: Vec<KeyArn>,
    pub(super) discovery: Option<KeyDiscovery>,
}

/// A key that may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AllowedKey {
    pub(super) arn: KeyArn,
    /// The config names it. Else the producer has chosen it.
    pub(super) is_named: bool,
}

impl AllowedKeys {
    /// What a policy calls them.
    pub(super) fn resources(&self) -> impl Iterator<Item = String> {
        let accounts = self.discovery.iter().flat_map(|it| {
            let of_region = move |region| {
                let key =
                    move |account| format!("arn:{}:kms:{region}:{account}:key/*", it.partition);
                it.accounts.iter().map(key)
            };
            it.regions.iter().flat_map(of_region)
        });
        self.named.iter().map(ToString::to_string).chain(accounts)
    }

    /// The key to ask, where a payload names one.
    pub(super) fn of(&self, key: &KeyArn) -> Option<AllowedKey> {
        let named = self.named.iter().find(|it| *it == key);
        if let Some(arn) = named.or(self.named.iter().find(|it| it.is_replica_of(key))) {
            return Some(AllowedKey { arn: arn.clone(), is_named: true });
        }
        let discovery = self.discovery.as_ref()?;
        let found = discovery.partition == key.partition
            && discovery.accounts.contains(&key.account)
            && discovery.regions.contains(&key.region);
        found.then(|| AllowedKey { arn: key.clone(), is_named: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arn(text: &str) -> KeyArn {
        KeyArn::parse(text).expect("it is one")
    }

    #[test]
    fn an_arn_is_read_as_it_is_written() {
        let text = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab";
        assert_eq!(arn(text).to_string(), text);
        for text in [
            "",
            "1234abcd-12ab",
            "arn:aws:kms:eu-west-1:111122223333:alias/orders",
            "arn:aws:kms:eu-west-1:111122223333:key/",
            "arn:aws:kms:eu-west-1:11112222333:key/1",
            "arn:aws:kms::111122223333:key/1",
            "arn:aws:s3:eu-west-1:111122223333:key/1",
            "arn:aws:kms:eu-west-1:111122223333:key/1\n2",
            "arn:aws:kms:eu-west-1:111122223333:key/1:2",
        ] {
            assert_eq!(KeyArn::parse(text), None, "{text}");
        }
    }

    #[test]
    fn nothing_is_allowed_that_is_not_named() {
        let named = arn("arn:aws:kms:eu-west-1:111122223333:key/a");
        let keys = AllowedKeys { named: vec![named.clone()], discovery: None };
        assert_eq!(keys.of(&named), Some(AllowedKey { arn: named, is_named: true }));
        for other in [
            "arn:aws:kms:eu-west-1:111122223333:key/b",
            "arn:aws:kms:eu-west-2:111122223333:key/a",
            "arn:aws:kms:eu-west-1:999922223333:key/a",
            "arn:aws-cn:kms:eu-west-1:111122223333:key/a",
        ] {
            assert_eq!(keys.of(&arn(other)), None, "{other}");
            assert_eq!(AllowedKeys::default().of(&arn(other)), None);
        }
    }

    #[test]
    fn a_multi_region_key_is_asked_where_it_is_named() {
        let here = arn("arn:aws:kms:eu-west-1:111122223333:key/mrk-a");
        let keys = AllowedKeys { named: vec![here.clone()], discovery: None };
        let there = arn("arn:aws:kms:us-east-1:111122223333:key/mrk-a");
        assert_eq!(keys.of(&there), Some(AllowedKey { arn: here, is_named: true }));
        assert_eq!(keys.of(&arn("arn:aws:kms:us-east-1:999922223333:key/mrk-a")), None);
    }

    #[test]
    fn keys_of_an_account_are_discovered_and_no_others() {
        let discovery = KeyDiscovery {
            partition: "aws".into(),
            accounts: vec!["111122223333".into()],
            regions: vec!["us-east-1".into()],
        };
        let keys = AllowedKeys { named: Vec::new(), discovery: Some(discovery) };
        let found = arn("arn:aws:kms:us-east-1:111122223333:key/any");
        assert_eq!(keys.of(&found), Some(AllowedKey { arn: found, is_named: false }));
        assert_eq!(keys.of(&arn("arn:aws:kms:us-east-1:999922223333:key/any")), None);
        assert_eq!(keys.of(&arn("arn:aws-cn:kms:us-east-1:111122223333:key/any")), None);
        assert_eq!(keys.of(&arn("arn:aws:kms:nowhere:111122223333:key/any")), None);
        let resources: Vec<_> = keys.resources().collect();
        assert_eq!(resources, ["arn:aws:kms:us-east-1:111122223333:key/*"]);
    }
}
