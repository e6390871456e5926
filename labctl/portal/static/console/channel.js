// One console's websocket. Binary messages are the machine's, text messages are the portal's: noVNC, which takes this
// for a WebSocket, never sees the latter.

export class Channel {
  constructor(address, ticket) {
    this.socket = new WebSocket(address, ["labctl.console", `ticket.${ticket}`]);
    this.socket.binaryType = "arraybuffer";
    this.binaryType = "arraybuffer";
    this.onopen = null;
    this.onerror = null;
    this.onclose = null;
    this.onnotice = null;
    this.onending = null;
    this.waiting = [];
    this.listener = null;
    this.socket.onmessage = (event) => this.receive(event);
    this.socket.onerror = (event) => this.onerror?.(event);
    this.socket.onclose = (event) => {
      this.onending?.(); // noVNC has the other one
      this.onclose?.(event);
    };
  }

  get protocol() {
    return this.socket.protocol;
  }

  get readyState() {
    return this.socket.readyState;
  }

  get onmessage() {
    return this.listener;
  }

  // What comes before anybody listens is kept: a VNC server speaks first.
  set onmessage(listener) {
    this.listener = listener;
    while (listener && this.waiting.length) listener(this.waiting.shift());
  }

  receive(event) {
    if (typeof event.data === "string") {
      const notice = JSON.parse(event.data);
      if ("ping" in notice) this.say({ pong: notice.ping });
      else this.onnotice?.(notice);
    } else if (this.listener) {
      this.listener(event);
    } else {
      this.waiting.push(event);
    }
  }

  send(data) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(data);
  }

  say(what) {
    this.send(JSON.stringify(what));
  }

  close() {
    this.socket.close();
  }
}
