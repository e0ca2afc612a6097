//! What a server must do before anything that is tested with it means something.

use aws_sdk_s3::{
    error::{ProvideErrorMetadata, SdkError},
    types::{CompletedMultipartUpload, CompletedPart},
};
use tokio::task::JoinSet;

use super::{
    ministack::Ministack,
    server::{BUCKET, S3},
};

/// How many write to one key at once.
const WRITERS: u8 = 8;

/// How often they do.
const ROUNDS: usize = 10;

/// What a writer was answered: nothing but success, or the status and the code.
type Answer = Result<Option<String>, (u16, String)>;

fn answer<T, E>(answer: Result<T, SdkError<E>>, etag: impl Fn(T) -> Option<String>) -> Answer
where
    E: ProvideErrorMetadata,
{
    match answer {
        Ok(output) => Ok(etag(output)),
        Err(SdkError::ServiceError(refused)) => {
            let code = refused.err().code().unwrap_or_default().to_owned();
            Err((refused.raw().status().as_u16(), code))
        }
        Err(_) => Err((0, "no answer".to_owned())),
    }
}

/// Of the writers one has won, the others were told that something lies there, and that is what
/// the winner wrote.
async fn one_won(s3: &S3, key: &str, answers: Vec<(u8, Answer)>) {
    let winners: Vec<_> = answers.iter().filter(|(_, it)| it.is_ok()).collect();
    assert_eq!(winners.len(), 1, "{key}: {answers:?}");
    let (winner, etag) = (winners[0].0, winners[0].1.as_ref().expect("it has won"));
    for (_, refused) in answers.iter().filter(|(_, it)| it.is_err()) {
        let (status, _) = refused.as_ref().expect_err("it has lost");
        assert!(matches!(status, 412 | 409), "{key}: {answers:?}");
    }
    let head = s3.client().head_object().bucket(BUCKET).key(key).send().await.expect("it is there");
    assert_eq!(head.e_tag(), etag.as_deref(), "{key}: who asks sees what the winner was told");
    assert_eq!(head.metadata().and_then(|it| it.get("writer")), Some(&winner.to_string()));
    let content = s3.read(key).await.expect("it is there");
    assert!(content.iter().all(|byte| *byte == winner), "{key}: the content is the winner's");
}

/// What a server is known not to do: no test relies on it there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exception {
    /// It refuses content whose checksum is wrong, and keeps it.
    KeepsDamaged,
}

/// Runs the list on a server.
fn probe(s3: &S3, exceptions: &[Exception]) {
    s3.block_on(async {
        for round in 0..ROUNDS {
            racing_puts(s3, &format!("probe/put-{round}")).await;
            racing_uploads(s3, &format!("probe/upload-{round}")).await;
        }
        replacing(s3, "probe/replaced").await;
        damaged(s3, "probe/damaged", exceptions).await;
    });
}

async fn racing_puts(s3: &S3, key: &str) {
    let mut racing = JoinSet::new();
    for writer in 1..=WRITERS {
        let put = s3.client().put_object().bucket(BUCKET).key(key).if_none_match("*");
        let put = put.metadata("writer", writer.to_string()).body(vec![writer; 100_000].into());
        racing.spawn(async move { (writer, answer(put.send().await, |it| it.e_tag)) });
    }
    one_won(s3, key, racing.join_all().await).await;
}

async fn racing_uploads(s3: &S3, key: &str) {
    let mut begun = Vec::new();
    for writer in 1..=WRITERS {
        let create = s3.client().create_multipart_upload().bucket(BUCKET).key(key);
        let create = create.metadata("writer", writer.to_string()).send().await.expect("an upload");
        let id = create.upload_id.expect("an id");
        let part = s3.client().upload_part().bucket(BUCKET).key(key).upload_id(&id);
        let part = part.part_number(1).body(vec![writer; 100_000].into());
        let part = part.send().await.expect("a part");
        let part = CompletedPart::builder()
            .part_number(1)
            .set_e_tag(part.e_tag)
            .set_checksum_crc32(part.checksum_crc32)
            .set_checksum_crc64_nvme(part.checksum_crc64_nvme);
        begun.push((writer, id, CompletedMultipartUpload::builder().parts(part.build()).build()));
    }
    let mut racing = JoinSet::new();
    for (writer, id, parts) in begun {
        let complete = s3.client().complete_multipart_upload().bucket(BUCKET).key(key);
        let complete = complete.upload_id(id).multipart_upload(parts).if_none_match("*");
        racing.spawn(async move { (writer, answer(complete.send().await, |it| it.e_tag)) });
    }
    one_won(s3, key, racing.join_all().await).await;
}

async fn replacing(s3: &S3, key: &str) {
    let put = |content: &'static [u8]| {
        s3.client().put_object().bucket(BUCKET).key(key).body(content.to_vec().into())
    };
    let first = put(b"first").send().await.expect("nothing forbids it").e_tag.expect("a tag");
    let wrong = put(b"other").if_match("\"0123456789abcdef0123456789abcdef\"").send().await;
    assert_eq!(answer(wrong, |it| it.e_tag).expect_err("another lies there").0, 412);
    assert_eq!(s3.read(key).await.as_deref(), Some(&b"first"[..]));
    put(b"second").if_match(first).send().await.expect("it lies there");
    assert_eq!(s3.read(key).await.as_deref(), Some(&b"second"[..]));
}

async fn damaged(s3: &S3, key: &str, exceptions: &[Exception]) {
    let put = s3.client().put_object().bucket(BUCKET).key(key).body(b"content".to_vec().into());
    let wrong = put.checksum_crc32("AAAAAA==").send().await;
    let (status, _) = answer(wrong, |it| it.e_tag).expect_err("the checksum is wrong");
    assert_eq!(status, 400);
    let keeps = exceptions.contains(&Exception::KeepsDamaged);
    assert_eq!(s3.read(key).await.is_some(), keeps, "nothing lies there, or the list is stale");
}

#[test]
fn the_embedded_server_behind_the_proxy_does_what_the_sink_relies_on() {
    probe(&S3::start(), &[Exception::KeepsDamaged]);
}

#[test]
fn the_server_of_another_make_does_too() {
    let name = "the_server_of_another_make_does_too";
    let Some(ministack) = Ministack::start(name) else { return };
    probe(&ministack.s3, &[]);
}
