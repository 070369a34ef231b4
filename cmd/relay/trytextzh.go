package main

var tryChinese = map[string]string{
	"link":  "链接 %s：%s",
	"ms":    "%s 毫秒",
	"kB":    "%s kB",
	"kB/s":  "%s kB/s",
	"MB/s":  "%s MB/s",
	"point": ".",

	"works":        "可用：%s",
	"works/rate":   "可用：%s，至少 %s",
	"works/target": "%s；目标在 %s 后应答",
	"limited":      "在 %s 后冻结：连接在最初几千字节后停住；`relay connect` 能应付，但较慢",
	"none":         "这里没有可用的链接；请把以上各行发给给您链接的人，其中没有域名、地址或密钥",
	"none/target":  "这里可用的链接都没有到达目标",

	"progress":      "已测试 %s 条，共 %s 条……",
	"stopped":       "未完成，所处阶段：%s",
	"stage/name":    "查询域名",
	"stage/connect": "建立连接",
	"stage/hello":   "等待对握手问候的应答",
	"stage/request": "等待对请求的应答",
	"stage/data":    "等待中继应答",
	"stage/volume":  "下载",
	"stage/target":  "等待目标应答",

	"name/forged":       "在域名处被封锁：关于它的应答是伪造的；请用 `--resolver` 指定 DoH 服务器，或换用带地址的链接",
	"name/no_such_name": "链接中的域名查不到：它已不存在，或被解析服务器隐藏；请用 `--resolver` 指定 DoH 服务器，或索取新链接",
	"name/no_ech":       "解析服务器没有说明如何隐藏域名（ECH）；请用 `--resolver` 指定另一个 DoH 服务器",
	"name/silent":       "查询域名没有应答；此设备联网了吗？如已联网，请用 `--resolver` 指定 DoH 服务器",
	"name/failed":       "无法查询域名；此设备联网了吗？如已联网，请用 `--resolver` 指定 DoH 服务器",

	"connect/silent":      "地址被封锁，或服务器已停：第一个数据包（SYN）没有应答；请试另一个链接",
	"connect/reset":       "地址被封锁：连接立即被重置；请试另一个链接",
	"connect/refused":     "地址拒绝连接：那里现在没有运行中继，或有人代为拒绝；请询问给您链接的人",
	"connect/forbidden":   "此设备不允许该连接；请检查它的防火墙",
	"connect/unreachable": "无法到达该地址；此设备联网了吗？如已联网，请试另一个链接",
	"connect/failed":      "无法建立连接；请试另一个链接",

	"hello/reset":       "在握手问候后被封锁（重置）：域名或浏览器指纹被过滤；请试另一个链接",
	"hello/closed":      "在握手问候后被封锁（关闭）：域名或浏览器指纹被过滤，或服务器不支持 TLS；请试另一个链接",
	"hello/silent":      "在握手问候后被封锁（无应答）：域名、地址或浏览器指纹被过滤；请试另一个链接",
	"hello/refused":     "服务器拒绝握手问候：链接中的域名可能已过时；请索取新链接",
	"hello/certificate": "服务器出示的证书不对：中间可能有人；不要使用此链接，请索取新链接",
	"hello/clock":       "证书的有效期与时间不符；请检查此设备的时钟，如果时钟正确，请告诉给您链接的人",
	"hello/not_http2":   "应答的不是链接所指的服务器，或中间有人；请索取新链接",
	"hello/ech":         "服务器不接受隐藏的域名（ECH）；请索取新链接",
	"hello/failed":      "对握手问候的应答无法理解，像是审查页面；请试另一个链接",

	"request/reset":  "在请求后被封锁（重置）；请试另一个链接",
	"request/closed": "在请求后被封锁（关闭），或服务器自行关闭；请试另一个链接",
	"request/silent": "在请求后被封锁（无应答），或服务器没有反应；请试另一个链接",
	"request/path":   "服务器不认识此链接：它已被删除或更换；请索取新链接",
	"request/server": "服务器或其前面的 CDN 有故障；请稍后再试，并告诉给您链接的人",
	"request/status": "服务器有应答，但不像中继：可能是 CDN 拒绝；请告诉给您链接的人",
	"request/failed": "请求失败；请再试一次，然后试另一个链接",

	"data/user":   "中继不认识此链接的用户：它已被删除或更换；请索取新链接",
	"data/silent": "中继收下请求却不应答；请稍后再试，并告诉给您链接的人",

	"volume/frozen": "在 %s 后冻结：不再有数据，也没有说明原因；请试另一个链接",
	"volume/reset":  "在 %s 后被切断（重置）：较大的应答被过滤；请试另一个链接",
	"volume/closed": "在 %s 后被切断（关闭）：较大的应答被过滤，或服务器自行结束；请试另一个链接",
	"volume/failed": "下载在 %s 后失败；请再试一次，然后试另一个链接",

	"target/refused": "中继可用，但没有到达目标：它不愿意，或那里没有人",
	"target/silent":  "中继可用，但目标没有数据过来",
}
