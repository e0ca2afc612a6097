//! Objects of a bucket as a source: stories of the whole program over S3 in this process and SQS of
//! another make, behind proxies that make trouble.

mod example;
mod fleet;
mod formats;
mod inbox;
mod proxy;
mod stories;
