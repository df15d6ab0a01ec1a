use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::*;
use crate::wait::{GENEROUS, eventually};

fn client() -> reqwest::Client {
    crate::install_crypto_provider();
    reqwest::Client::builder().no_proxy().build().expect("a client")
}

/// A proxy in front of a server that is itself one, and answers all.
async fn chain() -> Result<(Proxy, Proxy, FaultId)> {
    let server = Proxy::to(String::new(), client()).await?;
    let served = server.inject(Fault::answer(201, "made").header("x-served", "yes"));
    Ok((Proxy::to(server.url(), client()).await?, server, served))
}

#[tokio::test]
async fn what_no_fault_fits_passes() -> Result<()> {
    let (proxy, server, served) = chain().await?;
    proxy.inject(Fault::answer(404, "<html>").method("GET").path("/a").path("watch=1"));
    for (path, code) in [("/a?watch=1", 404), ("/a", 201), ("/b?watch=1", 201)] {
        assert_eq!(client().get(format!("{}{path}", proxy.url())).send().await?.status(), code, "{path}");
    }
    let answer = client().post(format!("{}/a?watch=1", proxy.url())).body("posted").send().await?;
    assert_eq!(answer.headers()["x-served"], "yes");
    assert_eq!(answer.text().await?, "made");
    assert_eq!(server.struck(served), 3);
    Ok(())
}

#[tokio::test]
async fn a_lost_reply_was_served_and_a_reset_was_not() -> Result<()> {
    let (proxy, server, served) = chain().await?;
    for (fault, count) in [(Fault::lost_reply(), 1), (Fault::reset(), 1)] {
        let id = proxy.inject(fault.times(1));
        let error = client().get(proxy.url()).send().await.err().context("there was an answer")?;
        assert!(!error.is_connect(), "{error:?}");
        assert_eq!((proxy.struck(id), server.struck(served)), (1, count));
    }
    assert_eq!(client().get(proxy.url()).send().await?.status(), 201);
    Ok(())
}

#[tokio::test]
async fn what_is_held_goes_on_when_the_fault_is_lifted() -> Result<()> {
    let (proxy, server, served) = chain().await?;
    let id = proxy.inject(Fault::hold());
    let request = tokio::spawn(client().get(proxy.url()).send());
    eventually("the request to be held", GENEROUS, async || if proxy.struck(id) == 1 { Ok(()) } else { Err("not yet") }).await?;
    assert_eq!(server.struck(served), 0);
    proxy.lift(id);
    assert_eq!(request.await??.status(), 201);
    Ok(())
}

#[tokio::test]
async fn a_detained_request_is_served_although_its_sender_has_gone_and_a_held_one_is_not() -> Result<()> {
    let (proxy, server, served) = chain().await?;
    for (fault, count) in [(Fault::hold(), 0), (Fault::detain(), 1)] {
        let id = proxy.inject(fault.times(1));
        let request = tokio::spawn(client().get(proxy.url()).send());
        holds(&proxy, id, 1).await?;
        request.abort();
        if count == 0 {
            holds(&proxy, id, 0).await?;
        }
        proxy.lift(id);
        holds(&proxy, id, 0).await?;
        assert_eq!(server.struck(served), count);
    }
    Ok(())
}

#[tokio::test]
async fn only_the_request_of_a_number_is_struck_and_its_answer_waits_when_it_was_served() -> Result<()> {
    let (proxy, server, served) = chain().await?;
    let id = proxy.inject(Fault::hold_reply().which(|method, path, _| method == "GET" && path != "/b").after(1).times(1));
    for path in ["/a", "/b"] {
        assert_eq!(client().get(format!("{}{path}", proxy.url())).send().await?.status(), 201);
    }
    let request = tokio::spawn(client().get(format!("{}/c", proxy.url())).send());
    holds(&proxy, id, 1).await?;
    assert_eq!((server.struck(served), proxy.fitted(id)), (3, vec!["GET /a".to_owned(), "GET /c".to_owned()]));
    proxy.lift(id);
    assert_eq!(request.await??.status(), 201);
    Ok(())
}

#[tokio::test]
async fn what_is_under_a_path_goes_to_another_server() -> Result<()> {
    let (proxy, server, served) = chain().await?;
    let other = Proxy::to(String::new(), client()).await?;
    other.inject(Fault::answer(202, "other"));
    proxy.route("/auth/", other.url());
    for (path, code) in [("/auth/token", 202), ("/author", 201)] {
        assert_eq!(client().get(format!("{}{path}", proxy.url())).send().await?.status(), code, "{path}");
    }
    assert_eq!(server.struck(served), 1);
    Ok(())
}

async fn holds(proxy: &Proxy, id: FaultId, count: usize) -> Result<()> {
    let what = format!("the proxy to hold {count}");
    eventually(&what, GENEROUS, async || if proxy.held(id) == count { Ok(()) } else { Err(format!("{}", proxy.held(id))) }).await
}

/// Sends a piece every few milliseconds, for ever.
async fn talker() -> Result<String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
                while stream.write_all(b"5\r\npiece\r\n").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            });
        }
    });
    Ok(format!("http://{address}"))
}

#[tokio::test]
async fn an_open_stream_falls_silent_goes_on_and_is_cut() -> Result<()> {
    let proxy = Proxy::to(talker().await?, client()).await?;
    let mut stream = client().get(proxy.url()).send().await?;
    assert_eq!(stream.chunk().await?.as_deref(), Some(&b"piece"[..]));
    let id = proxy.inject(Fault::silence());
    eventually("silence", GENEROUS, async || match timeout(Duration::from_millis(100), stream.chunk()).await {
        Ok(_) => Err("it speaks"),
        Err(_) => Ok(()),
    })
    .await?;
    proxy.lift(id);
    assert!(timeout(GENEROUS, stream.chunk()).await??.is_some());
    proxy.cut();
    let end = timeout(GENEROUS, async { while matches!(stream.chunk().await, Ok(Some(_))) {} }).await;
    assert!(end.is_ok(), "it speaks after the cut");
    Ok(())
}
