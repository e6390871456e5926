# Tasks of the agent on Windows that ask other machines: names and pages.

# The answer as dig writes it: name, time to live, class, type and data.
function ConvertTo-Record($Record) {
    $data = switch ("$($Record.QueryType)") {
        'A' { $Record.IPAddress }
        'AAAA' { $Record.IPAddress }
        'CNAME' { "$($Record.NameHost)." }
        'NS' { "$($Record.NameHost)." }
        'PTR' { "$($Record.NameHost)." }
        'MX' { "$($Record.Preference) $($Record.NameExchange)." }
        'SRV' { "$($Record.Priority) $($Record.Weight) $($Record.Port) $($Record.NameTarget)." }
        'TXT' { '"' + ($Record.Strings -join '') + '"' }
        default { return }
    }
    "$($Record.Name). $($Record.TTL) IN $($Record.QueryType) $data"
}

# Code 0: the server answered; 9: it did not. The numbers are those of Windows for the answers of DNS (winerror.h).
function Invoke-Dns($Task) {
    $words = @{ Name = $Task.name; Type = $Task.record; DnsOnly = $true }
    if ($Task.server) { $words.Server = $Task.server }
    try {
        $found = Resolve-DnsName @words | Where-Object { $_.Section -eq 'Answer' }
        return @{ code = 0; out = @($found | ForEach-Object { ConvertTo-Record $_ }) -join "`n" }
    } catch [ComponentModel.Win32Exception] {
        $status = @{ 9001 = 'FORMERR'; 9002 = 'SERVFAIL'; 9003 = 'NXDOMAIN'; 9004 = 'NOTIMP'; 9005 = 'REFUSED' }
        $number = $_.Exception.NativeErrorCode
        if ($status.ContainsKey($number)) { return @{ code = 0; out = ";; status: $($status[$number])," } }
        if ($number -eq 9501) { return @{ code = 0; out = ';; status: NOERROR,' } }
        return @{ code = 9; err = $_.Exception.Message }
    }
}

$CurlCodes = @{
    NameResolutionFailure = 6; ConnectFailure = 7; Timeout = 28; SecureChannelFailure = 35; ConnectionClosed = 52
    ReceiveFailure = 56; TrustFailure = 60
}

# The page and, below it, its status, that a connection was made, and its redirection; codes as curl has them.
function Invoke-Http($Task) {
    [Net.ServicePointManager]::SecurityProtocol = [Net.SecurityProtocolType]::Tls12
    $request = [Net.WebRequest]::Create([uri]$Task.url)
    $request.AllowAutoRedirect = $false
    $request.Proxy = $null
    $request.Timeout = [int]$Task.timeout * 1000
    $request.ReadWriteTimeout = [int]$Task.timeout * 1000
    try {
        $response = $request.GetResponse()
    } catch {
        $trouble = $_.Exception
        while ($trouble -and $trouble -isnot [Net.WebException]) { $trouble = $trouble.InnerException }
        if (-not $trouble) { throw }
        $response = $trouble.Response
        if (-not $response) {
            $code = $CurlCodes["$($trouble.Status)"]
            return @{ code = if ($code) { $code } else { 2 }; err = $trouble.Message }
        }
    }
    try {
        $reader = New-Object -TypeName IO.StreamReader -ArgumentList $response.GetResponseStream()
        $buffer = New-Object -TypeName char[] -ArgumentList 60000
        $page = New-Object -TypeName string -ArgumentList $buffer, 0, $reader.ReadBlock($buffer, 0, 60000)
        @{ code = 0; out = "$page`n$($Task.mark)$([int]$response.StatusCode) 1 $($response.Headers['Location'])" }
    } finally {
        $response.Close()
    }
}
