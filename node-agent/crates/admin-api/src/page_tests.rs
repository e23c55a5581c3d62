//! The status page as a stranger's browser gets it: its files, their headers, and what they may not contain.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;

use crate::api::{Answer, respond};
use crate::api_tests::Doors;
use crate::ops::page::CONTENT_SECURITY_POLICY;

/// Paths and content types.
const FILES: [(&str, &str); 4] = [
    ("/", "text/html; charset=utf-8"),
    ("/page.js", "text/javascript; charset=utf-8"),
    ("/page.css", "text/css; charset=utf-8"),
    ("/icon.svg", "image/svg+xml"),
];
/// Bytes of all files: the page is read over slow links from small boards.
const PAGE_BYTES_MAX: usize = 32 << 10;

async fn get(doors: &Doors, path: &str) -> Response<Bytes> {
    doors.stranger(Request::get(path)).await
}

fn text(headers: &HeaderMap, name: impl header::AsHeaderName) -> String {
    headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

#[tokio::test]
async fn its_files_need_no_key_and_bind_the_browser() {
    let doors = Doors::open().await;
    let mut all = 0;
    for (path, content_type) in FILES {
        let answer = get(&doors, path).await;
        let headers = answer.headers();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        assert_eq!(text(headers, header::CONTENT_TYPE), content_type);
        assert_eq!(text(headers, header::CONTENT_SECURITY_POLICY), CONTENT_SECURITY_POLICY);
        assert_eq!(text(headers, header::X_CONTENT_TYPE_OPTIONS), "nosniff");
        assert_eq!(text(headers, header::X_FRAME_OPTIONS), "DENY");
        assert_eq!(text(headers, header::REFERRER_POLICY), "no-referrer");
        assert_eq!(text(headers, header::CACHE_CONTROL), "no-cache");
        all += answer.body().len();
    }
    assert!(all < PAGE_BYTES_MAX, "{all} bytes");
}

#[test]
fn the_policy_lets_nothing_in_but_files_of_the_node() {
    let directives: Vec<(&str, &str)> =
        CONTENT_SECURITY_POLICY.split("; ").map(|one| one.split_once(' ').unwrap()).collect();
    let of = |name| directives.iter().find(|one| one.0 == name).map(|one| one.1);
    assert_eq!(of("default-src"), Some("'none'"));
    for name in ["script-src", "style-src", "connect-src", "img-src"] {
        assert_eq!(of(name), Some("'self'"), "{name}: neither inline nor foreign");
    }
    for name in ["frame-ancestors", "base-uri", "form-action", "trusted-types"] {
        assert_eq!(of(name), Some("'none'"), "{name}");
    }
    assert!(!CONTENT_SECURITY_POLICY.contains("unsafe"));
}

/// What the policy would block would be a page that looks right in no browser; and what would let markup in.
#[tokio::test]
async fn its_files_keep_to_the_policy() {
    let doors = Doors::open().await;
    for (path, _) in FILES {
        let answer = get(&doors, path).await;
        let content = std::str::from_utf8(answer.body()).unwrap().to_owned();
        for word in [
            "innerHTML",
            "outerHTML",
            "insertAdjacent",
            "document.write",
            "eval(",
            "Function(",
            "localStorage",
        ] {
            assert!(!content.contains(word), "{path} holds {word}");
        }
        let foreign = content.replace("http://www.w3.org/2000/svg", "");
        assert!(!foreign.contains("://"), "{path} names another origin");
        if path == "/" {
            assert!(!content.contains("style=") && !content.contains("<style"), "inline style");
            let scripts: Vec<&str> = content.split("<script").skip(1).collect();
            assert_eq!(scripts.len(), 1);
            assert!(scripts[0].starts_with(" src=\"/page.js\" defer></script>"), "inline script");
            let handler = |word: &&str| word.starts_with("on") && word.contains('=');
            assert_eq!(content.split_whitespace().find(handler), None, "an inline handler");
        }
    }
}

#[tokio::test]
async fn a_browser_that_knows_a_file_is_told_so() {
    let doors = Doors::open().await;
    let mut tags = std::collections::BTreeSet::new();
    for (path, _) in FILES {
        let tag = text(get(&doors, path).await.headers(), header::ETAG);
        assert!(tag.len() > 20 && tag.starts_with('"') && tag.ends_with('"'), "{tag}");
        for known in [tag.clone(), format!("W/{tag}"), format!("\"a\", {tag}"), "*".to_owned()] {
            let answer = doors.stranger(Request::get(path).header(header::IF_NONE_MATCH, &known)).await;
            assert_eq!(answer.status(), StatusCode::NOT_MODIFIED, "{path} {known}");
            assert!(answer.body().is_empty());
            assert_eq!(text(answer.headers(), header::ETAG), tag);
            assert_eq!(text(answer.headers(), header::CACHE_CONTROL), "no-cache");
        }
        let other = doors.stranger(Request::get(path).header(header::IF_NONE_MATCH, "\"other\"")).await;
        assert_eq!(other.status(), StatusCode::OK);
        assert!(tags.insert(tag), "two files with one tag");
    }
}

#[tokio::test]
async fn head_has_the_headers_alone() {
    let doors = Doors::open().await;
    for path in ["/", "/page.js", "/health/ready"] {
        let whole = get(&doors, path).await;
        let head = doors.stranger(Request::builder().method(Method::HEAD).uri(path)).await;
        assert_eq!(head.status(), StatusCode::OK, "{path}");
        assert!(head.body().is_empty());
        assert_eq!(text(head.headers(), header::CONTENT_LENGTH), whole.body().len().to_string());
        assert_eq!(text(head.headers(), header::CONTENT_TYPE), text(whole.headers(), header::CONTENT_TYPE));
    }
    let head = doors.stranger(Request::builder().method(Method::HEAD).uri("/v1/status")).await;
    assert_eq!(head.status(), StatusCode::UNAUTHORIZED);

    // Over HTTP/1.1 the server drops a body by itself; over HTTP/2 one would break the stream.
    let (parts, body) = respond(Answer::new("text/plain", "four"), true).into_parts();
    assert_eq!(text(&parts.headers, header::CONTENT_LENGTH), "4");
    assert!(body.collect().await.unwrap().to_bytes().is_empty());
}

#[tokio::test]
async fn answers_with_news_are_not_stored() {
    let doors = Doors::open().await;
    for path in ["/health/ready", "/v1/status", "/v1/nothing"] {
        let answer = get(&doors, path).await;
        assert_eq!(text(answer.headers(), header::CACHE_CONTROL), "no-store", "{path}");
        assert_eq!(text(answer.headers(), header::X_CONTENT_TYPE_OPTIONS), "nosniff", "{path}");
    }
}
