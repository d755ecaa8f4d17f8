// What a page can make a browser send to a URL, by name. Each returns what the page gets to see:
// a status, or null. Beacons, forms and links tell it nothing.
async ({acts, credentials}) => {
  const TEXT = "a=b";
  const JSON_TYPE = "application/json";

  const fetched = async (url, init) => {
    try {
      const response = await fetch(url, {credentials, ...init});
      return response.status || null; // 0 is an opaque response
    } catch (error) {
      return null;
    }
  };

  const frame = (attributes) => {
    const element = Object.assign(document.createElement("iframe"), attributes);
    document.body.append(element);
    return element;
  };

  const form = (url, enctype, target) => {
    const element = document.createElement("form");
    Object.assign(element, {action: url, method: "POST", enctype, target});
    const field = Object.assign(document.createElement("input"), {name: "a", value: "b"});
    element.append(field);
    document.body.append(element);
    return element;
  };

  const framed = (url, enctype) => {
    const name = `frame${document.forms.length}`;
    frame({name});
    form(url, enctype, name).submit();
    return null;
  };

  const later = (act) => {
    setTimeout(act); // the page goes away with it
    return null;
  };

  const KINDS = {
    "form": (url) => framed(url, "application/x-www-form-urlencoded"),
    "multipart form": (url) => framed(url, "multipart/form-data"),
    "plain form": (url) => framed(url, "text/plain"),
    "top form": (url) => {
      const element = form(url, "application/x-www-form-urlencoded", "_self");
      return later(() => element.submit());
    },
    "sandboxed form": (url) => {
      const copy = form(url, "application/x-www-form-urlencoded", "");
      const srcdoc = `${copy.outerHTML}<script>document.forms[0].submit()</script>`;
      copy.remove();
      const element = document.createElement("iframe");
      element.sandbox = "allow-forms allow-scripts";
      element.srcdoc = srcdoc;
      document.body.append(element);
      return null;
    },
    "bounced form": (url) => framed(url, "application/x-www-form-urlencoded"),
    "redirected form": (url) => framed(url, "application/x-www-form-urlencoded"),
    "no-cors POST": (url) => fetched(url, {method: "POST", body: TEXT, mode: "no-cors"}),
    "bodyless POST": (url) => fetched(url, {method: "POST", mode: "no-cors"}),
    "cors POST": (url) => fetched(url, {method: "POST", body: TEXT}),
    "JSON POST": (url) => {
      const headers = {"Content-Type": JSON_TYPE};
      return fetched(url, {method: "POST", body: "{}", headers});
    },
    "PUT": (url) => fetched(url, {method: "PUT", body: TEXT}),
    "DELETE": (url) => fetched(url, {method: "DELETE"}),
    "bounced POST": (url) => fetched(url, {method: "POST", body: TEXT}),
    "redirected POST": (url) => fetched(url, {method: "POST", body: TEXT}),
    "redirected no-cors POST": (url) =>
      fetched(url, {method: "POST", body: TEXT, mode: "no-cors"}),
    "beacon": (url) => navigator.sendBeacon(url, TEXT) && null,
    "JSON beacon": (url) =>
      navigator.sendBeacon(url, new Blob(["{}"], {type: JSON_TYPE})) && null,
    "XHR POST": (url) => new Promise((resolve) => {
      const request = new XMLHttpRequest();
      request.open("POST", url);
      request.withCredentials = credentials === "include";
      request.onload = () => resolve(request.status);
      request.onerror = () => resolve(null);
      request.send(TEXT);
    }),
    "WebSocket": (url) => new Promise((resolve) => {
      const socket = new WebSocket(url.replace(/^http/, "ws"));
      socket.onmessage = () => {
        resolve(200);
        socket.close();
      };
      socket.onerror = socket.onclose = () => resolve(null);
    }),
    "GET": (url) => fetched(url, {}),
    "no-cors GET": (url) => fetched(url, {mode: "no-cors"}),
    "HEAD": (url) => fetched(url, {method: "HEAD"}),
    "redirected GET": (url) => fetched(url, {}),
    "image": (url) => new Promise((resolve) => {
      const element = new Image();
      element.onload = element.onerror = () => resolve(null);
      element.src = url;
    }),
    "link": (url) => {
      const element = Object.assign(document.createElement("a"), {href: url});
      document.body.append(element);
      return later(() => element.click());
    },
  };

  return Promise.all(acts.map(([kind, url]) => KINDS[kind](url)));
}
