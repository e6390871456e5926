# Looks around from inside a Windows machine, for Windows PowerShell 5.1: knocks at addresses, sends a mark on each link.
#
# $told is JSON in base64: targets (address, port; 0 for an echo), mark, seconds for an answer, port of the mark.

$wanted = ConvertFrom-Json -InputObject ([Text.Encoding]::UTF8.GetString([Convert]::FromBase64String($told)))
$links = @([Net.NetworkInformation.NetworkInterface]::GetAllNetworkInterfaces() | Where-Object {
    $_.OperationalStatus -eq 'Up' -and $_.NetworkInterfaceType -ne 'Loopback' -and $_.Supports('IPv6')
} | ForEach-Object { $_.GetIPProperties().GetIPv6Properties().Index })

# An address of a link is tried on each of them; others are the routing table's.
function Start-Knock([string]$Address, [int]$Port, [long]$Link) {
    $place = [Net.IPAddress]::Parse($Address)
    if ($Link) { $place.ScopeId = $Link }
    try {
        if ($Port) {
            $client = New-Object -TypeName Net.Sockets.TcpClient -ArgumentList $place.AddressFamily
            $attempt = $client.ConnectAsync($place, $Port)
        } else {
            $client = New-Object -TypeName Net.NetworkInformation.Ping
            $attempt = $client.SendPingAsync($place, [int]$wanted.seconds * 1000)
        }
    } catch {
        return  # no way there
    }
    @{ Key = "$Address|$Port"; Client = $client; Attempt = $attempt }
}

# Windows itself asks three times before it believes a refusal, which takes it two seconds.
function Read-Knock($Knock, [int]$Milliseconds) {
    try {
        if (-not $Knock.Attempt.Wait($Milliseconds)) { return '' }
    } catch {
        $trouble = $_.Exception.GetBaseException()
        $refused = $trouble -is [Net.Sockets.SocketException] -and $trouble.SocketErrorCode -eq 'ConnectionRefused'
        if ($refused) { return 'refused' }
        return ''
    } finally {
        $Knock.Client.Dispose()
    }
    if ($Knock.Client -is [Net.NetworkInformation.Ping] -and $Knock.Attempt.Result.Status -ne 'Success') { return '' }
    'reached'
}

# No frame of one's own without a driver: all nodes of the link (ff02::1) get the mark, as they would get such a frame.
function Send-Mark([long]$Link) {
    $everybody = [Net.IPAddress]::Parse('ff02::1')
    $everybody.ScopeId = $Link
    $words = [Text.Encoding]::ASCII.GetBytes($wanted.mark)
    try {
        $sender = New-Object -TypeName Net.Sockets.UdpClient -ArgumentList $everybody.AddressFamily
        $sender.Client.SetSocketOption('IPv6', 'MulticastInterface', [int]$Link)
        $end = New-Object -TypeName Net.IPEndPoint -ArgumentList $everybody, ([int]$wanted.port)
        return $sender.Send($words, $words.Length, $end) -eq $words.Length
    } catch {
        return $false
    }
}

$knocks = foreach ($target in $wanted.targets) {
    $ways = if ($target.address.Contains(':')) { $links } else { 0 }
    foreach ($link in $ways) { Start-Knock $target.address $target.port $link }
}
$watch = [Diagnostics.Stopwatch]::StartNew()
$answers = @{}
foreach ($knock in $knocks) {
    $said = Read-Knock $knock ([Math]::Max(0, $wanted.seconds * 1000 - $watch.ElapsedMilliseconds))
    if ($said) { $answers[$knock.Key] = $said }
}
$sent = @($links | Where-Object { Send-Mark $_ } | ForEach-Object { "$_" })
[Console]::Out.Write((ConvertTo-Json -InputObject @{ answers = $answers; sent = $sent } -Compress))
[Console]::Out.Flush()
[Environment]::Exit(0)
