//! `shoal flash` on files that stand for disks.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::shoal::{run, shoal, text};

const MIB: usize = 1 << 20;

struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    /// An image of 2 MiB with its checksum.
    fn new() -> Self {
        let bench = Self { folder: tempfile::tempdir().expect("a folder") };
        let mut image: Vec<u8> = (0..2 * MIB).map(|at| (at / 512) as u8 | 1).collect();
        image[510..512].copy_from_slice(&[0x55, 0xaa]);
        std::fs::write(bench.path("board.img"), &image).expect("written");
        let digest = ring::digest::digest(&ring::digest::SHA256, &image);
        let line = format!("{}  board.img\n", data_encoding::HEXLOWER.encode(digest.as_ref()));
        std::fs::write(bench.path("board.sha256"), line).expect("written");
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn disk(&self, name: &str, content: &[u8]) -> PathBuf {
        std::fs::write(self.path(name), content).expect("written");
        self.path(name)
    }

    /// `shoal flash DISK --image board.img OPTIONS`: what it said, and whether it was content.
    fn flash(&self, disk: &Path, options: &[&str]) -> (bool, String) {
        let image = self.path("board.img");
        let base = ["flash", disk.to_str().expect("text"), "--image", image.to_str().expect("text")];
        let output = run(base.into_iter().chain(options.iter().copied()));
        (output.status.success(), text(&output.stdout) + &text(&output.stderr))
    }
}

#[test]
fn an_empty_disk_gets_the_image_and_nothing_else() {
    let bench = Bench::new();
    let disk = bench.disk("card", &vec![0; 20 * MIB]);
    let (done, told) = bench.flash(&disk, &[]);
    assert!(done, "{told}");
    let (written, image) =
        (std::fs::read(&disk).expect("read"), std::fs::read(bench.path("board.img")).expect("read"));
    assert!(written[..image.len()] == image[..]);
    assert!(written[image.len()..].iter().all(|&byte| byte == 0));
}

#[test]
fn what_is_not_empty_is_erased_only_by_its_serial() {
    let bench = Bench::new();
    let old = vec![7; 4 * MIB];
    let disk = bench.disk("photos", &old);
    for options in [&[][..], &["--serial", "another"]] {
        let (done, told) = bench.flash(&disk, options);
        assert!(!done);
        assert!(told.contains("photos"), "{told}");
        assert!(std::fs::read(&disk).expect("read") == old, "a byte was written");
    }
    assert!(bench.flash(&disk, &[]).1.contains("to erase it, say --serial photos"));
    let (done, told) = bench.flash(&disk, &["--serial", "photos"]);
    assert!(done, "{told}");
}

#[test]
fn nothing_is_written_for_a_damaged_image_or_a_wrong_seed() {
    let bench = Bench::new();
    let disk = bench.disk("card", &vec![0; 4 * MIB]);
    let wrong = bench.disk("wrong", b"[board\n");
    let ticket = bench.disk("ticket", b"shoal-ticket-1-nonsense");
    for (options, wanted) in [
        (["--sha256", &"0".repeat(64)], "is damaged"),
        (["--config", wrong.to_str().expect("text")], "the configuration"),
        (["--ticket-file", ticket.to_str().expect("text")], "ticket"),
    ] {
        let (done, told) = bench.flash(&disk, &options);
        assert!(!done && told.contains(wanted), "{told}");
    }
    std::fs::remove_file(bench.path("board.sha256")).expect("removed");
    assert!(bench.flash(&disk, &[]).1.contains("there is no checksum"));
    assert!(std::fs::read(&disk).expect("read").iter().all(|&byte| byte == 0), "a byte was written");
}

/// Answers by path: status, header lines, content.
type Answers = BTreeMap<&'static str, (&'static str, String, Vec<u8>)>;

/// A server that answers each request on a connection of its own; its port.
fn serve(answers: Answers, tls: Option<Arc<rustls::ServerConfig>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.expect("a connection");
            match &tls {
                Some(config) => {
                    let session = rustls::ServerConnection::new(config.clone()).expect("a session");
                    answer(&answers, rustls::StreamOwned::new(session, stream));
                }
                None => answer(&answers, stream),
            }
        }
    });
    port
}

fn answer(answers: &Answers, mut stream: impl Read + Write) {
    let mut head =
        BufReader::new(&mut stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
    let first = head.next().unwrap_or_default();
    head.for_each(drop);
    let path = first.split(' ').nth(1).unwrap_or_default();
    let missing = ("404 Not Found", String::new(), Vec::new());
    let (status, headers, content) = answers.get(path).unwrap_or(&missing);
    let length = content.len();
    let text = format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n");
    // Who asked may have gone.
    let _ = stream
        .write_all(text.as_bytes())
        .and_then(|()| stream.write_all(content))
        .and_then(|()| stream.flush());
}

impl Bench {
    /// What a site of releases holds: the newest is elsewhere.
    fn site(&self) -> Answers {
        let read = |name| std::fs::read(self.path(name)).expect("read");
        let moved = |to: &str| ("302 Found", format!("location: {to}\r\n"), Vec::new());
        BTreeMap::from([
            ("/latest/board.img", moved("/v1/board.img")),
            ("/latest/board.sha256", moved("../v1/board.sha256")),
            ("/latest/../v1/board.sha256", moved("/v1/board.sha256")),
            ("/v1/board.img", ("200 OK", String::new(), read("board.img"))),
            ("/v1/board.sha256", ("200 OK", String::new(), read("board.sha256"))),
            ("/round", moved("/round")),
            ("/downgrade", moved("http://localhost/board.img")),
        ])
    }

    /// As `flash`, from an address; downloads go to a folder that must be empty afterwards.
    fn flash_from(&self, address: &str, disk: &Path, options: &[&str]) -> (bool, String) {
        let folder = self.path("tmp");
        std::fs::create_dir_all(&folder).expect("a folder");
        let base = ["flash", disk.to_str().expect("text"), "--image", address];
        let mut command = shoal(base.into_iter().chain(options.iter().copied()));
        command.env("TMPDIR", &folder).env("SSL_CERT_FILE", self.path("authorities.pem"));
        let output = command.output().expect("it runs");
        assert_eq!(std::fs::read_dir(&folder).expect("read").count(), 0, "a download was left");
        (output.status.success(), text(&output.stdout) + &text(&output.stderr))
    }
}

#[test]
fn an_image_comes_over_tls_with_its_checksum() {
    let bench = Bench::new();
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("a certificate");
    std::fs::write(bench.path("authorities.pem"), certificate.pem()).expect("written");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let private = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .expect("a certificate");
    let port = serve(bench.site(), Some(Arc::new(config)));

    let disk = bench.disk("card", &vec![0; 4 * MIB]);
    for (path, wanted) in [
        ("nothing.img", "there is no checksum"),
        ("round", "there is no checksum"),
        ("downgrade", "there is no checksum"),
    ] {
        let (done, told) = bench.flash_from(&format!("https://localhost:{port}/{path}"), &disk, &[]);
        assert!(!done && told.contains(wanted), "{told}");
    }
    let digest = "0".repeat(64);
    for (path, wanted) in
        [("round", "more than 5 redirects"), ("downgrade", "without TLS"), ("v1/board.img", "is damaged")]
    {
        let address = format!("https://localhost:{port}/{path}");
        let (done, told) = bench.flash_from(&address, &disk, &["--sha256", &digest]);
        assert!(!done && told.contains(wanted), "{told}");
    }
    assert!(std::fs::read(&disk).expect("read").iter().all(|&byte| byte == 0), "a byte was written");
    let (done, told) = bench.flash_from(&format!("https://localhost:{port}/latest/board.img"), &disk, &[]);
    assert!(done, "{told}");
    let (written, image) =
        (std::fs::read(&disk).expect("read"), std::fs::read(bench.path("board.img")).expect("read"));
    assert!(written[..image.len()] == image[..]);

    // Another authority vouches for nobody here.
    let other = rcgen::KeyPair::generate().expect("a key");
    let stranger = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("a name");
    let stranger = stranger.self_signed(&other).expect("a certificate");
    std::fs::write(bench.path("authorities.pem"), stranger.pem()).expect("written");
    let blank = bench.disk("blank", &vec![0; 4 * MIB]);
    let address = format!("https://localhost:{port}/v1/board.img");
    let (done, told) = bench.flash_from(&address, &blank, &["--sha256", &digest]);
    assert!(!done && told.contains("cannot be reached"), "{told}");
}

#[test]
fn without_tls_an_image_needs_its_checksum_from_elsewhere() {
    let bench = Bench::new();
    let port = serve(bench.site(), None);
    let disk = bench.disk("card", &vec![0; 4 * MIB]);
    let address = format!("http://127.0.0.1:{port}/latest/board.img");
    let (done, told) = bench.flash_from(&address, &disk, &[]);
    assert!(!done && told.contains("give --sha256"), "{told}");
    let list = std::fs::read_to_string(bench.path("board.sha256")).expect("read");
    let (done, told) = bench.flash_from(&address, &disk, &["--sha256", &list[..64]]);
    assert!(done, "{told}");
}

#[test]
fn the_list_names_no_disk_twice() {
    let output = run(["flash", "--json"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let listed: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let mut paths: Vec<_> =
        listed["disks"].as_array().expect("a list").iter().map(|disk| disk["path"].clone()).collect();
    let all = paths.len();
    paths.dedup();
    assert_eq!(paths.len(), all);
}
